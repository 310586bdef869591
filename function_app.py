"""The function app: registers the blueprints of the roles this deployment has, and nothing else."""

from __future__ import annotations

from pathlib import Path

import azure.durable_functions as df
import azure.functions as func

import shared

_HERE = Path(__file__).resolve().parent
if not Path(shared.__file__).resolve().is_relative_to(_HERE):  # the name is taken on PyPI (ARCHITECTURE, section 2)
    raise ImportError(f"`shared` was found at {shared.__file__}, not beside function_app.py; uninstall that package")

import functions  # noqa: E402 - what it imports must come from the right place
from shared import wiring  # noqa: E402

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
for blueprint in functions.blueprints():
    app.register_functions(blueprint)
wiring.app()  # a configuration that cannot be used stops the start, not the first message
