import azure.functions as func

blueprint = func.Blueprint()


@blueprint.route(route="side/{name?}", auth_level=func.AuthLevel.ANONYMOUS)
def side(req: func.HttpRequest) -> str:
    return f"side {req.route_params.get('name', '-')}"
