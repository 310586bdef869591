"""The part of an Azure alert that differs by monitoring service.

In: an ``alertContext``. Out: its story; the first reader that recognises the context tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.adapters.sources import reading
from shared.adapters.sources.azure_shape import Story
from shared.adapters.sources.owners import last_part

Context = Mapping[str, Any]

_COMPARED = {
    "greaterthan": ">",
    "greater than": ">",
    "gt": ">",
    "greaterthanorequal": ">=",
    "greater than or equal": ">=",
    "lessthan": "<",
    "less than": "<",
    "lessthanorequal": "<=",
    "less than or equal": "<=",
    "equals": "=",
    "equal": "=",
    "equal to": "=",
    "greaterorlessthan": "outside",
}


def read(context: Context) -> Story:
    """The story of a context; an empty one when no reader knows it."""
    for reader in _READERS:
        story = reader(context)
        if story is not None:
            return story
    return Story(custom=reading.obj(reading.pick(context, "properties", "customProperties")))


def criteria(context: Context) -> Story | None:
    """Metric, log (V2), availability and dynamic-threshold alerts: a list of criteria."""
    condition = reading.obj(reading.pick(context, "condition"))
    rows = [reading.obj(one) for one in reading.items(reading.pick(condition, "allOf"))]
    rows = [row for row in rows if row] or ([condition] if reading.pick(condition, "metricName") else [])
    if not rows:
        return None
    first = next((row for row in rows if reading.pick(row, "metricValue") is not None), rows[0])
    dimensions = {
        reading.text(reading.pick(pair, "name")): reading.text(reading.pick(pair, "value"), 1000)
        for row in rows
        for pair in map(reading.obj, reading.items(reading.pick(row, "dimensions")))
    }
    metric = reading.text(reading.pick(first, "metricName"))
    web_test = reading.text(reading.pick(first, "webTestName"))
    query = reading.text(reading.pick(first, "searchQuery"), 1000)
    return Story(
        name=web_test or metric,
        summary=reading.text(_sentence(first, metric or "query result", web_test, dimensions, condition), 200),
        description=f"Query: {query}" if query else "",
        at=reading.moment(reading.pick(condition, "windowEndTime")),
        identity=tuple(f"{name}={dimensions[name]}" for name in sorted(dimensions)),
        related=tuple(value for value in (*dimensions.values(), web_test) if value),
        labels={
            "metric": metric,
            "metric_namespace": reading.pick(first, "metricNamespace"),
            "web_test": web_test,
            "condition_type": reading.pick(context, "conditionType"),
            **dimensions,
        },
        custom=reading.obj(reading.pick(context, "properties")),
        value=reading.number(reading.pick(first, "metricValue")),
        unit=reading.text(reading.pick(first, "metricUnit"), 40).lower(),
        links=(
            reading.pick(first, "linkToFilteredSearchResultsUI", "linkToFilteredSearchResultsUi"),
            reading.pick(first, "linkToSearchResultsUI", "linkToSearchResultsUi"),
        ),
    )


def _sentence(row: Context, metric: str, web_test: str, dimensions: Mapping[str, str], condition: Context) -> str:
    value = reading.text(reading.pick(row, "metricValue"))
    limit = reading.text(reading.pick(row, "threshold"))
    operator = reading.text(reading.pick(row, "operator"))
    compared = _COMPARED.get(operator.lower(), operator)
    words = [metric, "is", value] if value else [metric]
    if limit:
        words += [f"({compared} {limit})" if value else f"{compared} {limit}"]
    elif compared == "outside":
        words.append("(outside its usual range)")
    window = reading.text(reading.pick(condition, "windowSize"))
    window = f"{window} minutes" if window.isdigit() else window  # classic rules count minutes
    how = reading.text(reading.pick(row, "timeAggregation"))
    words += [f"{how.lower()} over {window}"] if how and window and not how.startswith("PT") else []
    where = [web_test] if web_test else [f"{name} {last_part(value)}" for name, value in dimensions.items() if value]
    return " ".join(filter(None, words)) + (f" for {', '.join(where[:4])}" if where else "")


def log_search(context: Context) -> Story | None:
    """Log alerts of the first generation, by Log Analytics and Application Insights."""
    query = reading.text(reading.pick(context, "SearchQuery"), 1500)
    if not query:
        return None
    count = reading.text(reading.pick(context, "ResultCount"))
    limit = reading.text(reading.pick(context, "Threshold", "AlertThresholdValue"))
    operator = reading.text(reading.pick(context, "Operator", "AlertThresholdOperator"))
    results = reading.obj(reading.pick(context, "SearchResults", "SearchResult"))
    origins = [reading.obj(one) for one in reading.items(reading.pick(results, "dataSources"))]
    dimensions = {
        reading.text(reading.pick(pair, "name")): reading.text(reading.pick(pair, "value"))
        for pair in map(reading.obj, reading.items(reading.pick(context, "Dimensions")))
    }
    application = reading.text(reading.pick(context, "ApplicationId"))
    workspace = reading.text(reading.pick(context, "WorkspaceId"))
    asked = f" (alerts when {_COMPARED.get(operator.lower(), operator)} {limit})" if limit else ""
    table = query.split("|", 1)[0].split("\n", 1)[0].strip()
    return Story(
        name=reading.text(reading.pick(context, "AlertRuleName", "AlertName")) or f"Log search on {table}"[:200],
        summary=reading.text(f"Log search on {table} found {count or 'some'} results{asked}", 200),
        description=f"Query: {query}",
        at=reading.moment(reading.pick(context, "SearchIntervalEndtimeUtc", "SearchIntervalEndTimeUtc")),
        identity=(query, application, workspace, *(f"{name}={dimensions[name]}" for name in sorted(dimensions))),
        items=tuple(
            filter(None, map(reading.text, reading.items(reading.pick(context, "AffectedConfigurationItems"))))
        ),
        related=tuple(filter(None, (reading.text(reading.pick(one, "resourceId"), 1000) for one in origins))),
        labels={"alert_type": reading.pick(context, "AlertType"), "application_id": application, **dimensions},
        custom=reading.obj(reading.pick(context, "properties", "customProperties")),
        value=reading.number(reading.pick(context, "ResultCount")),
        unit="results",
        links=(
            reading.pick(context, "LinkToFilteredSearchResultsUI"),
            reading.pick(context, "LinkToSearchResultsUI", "LinkToSearchResults"),
        ),
    )


def activity_log(context: Context) -> Story | None:
    """Activity log, service health and resource health alerts; their ``properties`` are the event's, not custom."""
    operation = reading.pick(context, "operationName")
    if operation is None:
        return None
    operation = reading.text(operation) or reading.text(reading.pick(reading.obj(operation), "value", "localizedValue"))
    properties = reading.obj(reading.pick(context, "properties"))
    scope = reading.text(reading.pick(reading.obj(reading.pick(context, "authorization")), "scope"), 1000)
    title = reading.plain(reading.pick(properties, "title", "defaultLanguageTitle"), 200)
    state = reading.text(reading.pick(properties, "currentHealthStatus"))
    was = reading.text(reading.pick(properties, "previousHealthStatus"))
    status = reading.text(reading.pick(context, "status"))
    health = f"Resource health went from {was or 'unknown'} to {state}" if state else ""
    service = reading.text(reading.pick(properties, "service", "impactedService"))
    return Story(
        name=title or operation,
        summary=title or health or reading.text(f"{operation} {status}".strip(), 200),
        description=reading.plain(
            reading.pick(properties, "communication", "defaultLanguageContent", "details", "message", "statusMessage")
        ),
        at=reading.moment(reading.pick(context, "eventTimestamp", "submissionTimestamp")),
        identity=(reading.text(reading.pick(properties, "trackingId")) or operation, scope),
        items=(service,) if service else (),
        related=tuple(filter(None, (reading.text(reading.pick(context, "resourceId", "resourceUri"), 1000), scope))),
        labels={
            "operation": operation,
            "event_source": reading.pick(context, "eventSource"),
            "event_status": status,
            "caller": reading.pick(context, "caller"),
            "correlation_id": reading.pick(context, "correlationId"),
            "region": reading.pick(properties, "region"),
            "incident_type": reading.pick(properties, "incidentType"),
            "tracking_id": reading.pick(properties, "trackingId"),
            "stage": reading.pick(properties, "stage"),
            "health": state,
            "cause": reading.pick(properties, "cause"),
        },
    )


def smart_detection(context: Context) -> Story | None:
    """Application Insights' detectors: failure anomalies, slow pages, leaks."""
    found = reading.plain(reading.pick(context, "DetectionSummary"), 200)
    if not found:
        return None
    application = reading.text(reading.pick(context, "ApplicationName", "AffectedApplication"))
    rate, usual = (reading.text(reading.pick(context, key)) for key in ("DetectedFailureRate", "NormalFailureRate"))
    return Story(
        name=reading.text(reading.pick(context, "SmartDetectorName")) or "Smart detection",
        summary=found,
        description=f"Failure rate {rate}, usually {usual}" if rate else "",
        at=reading.moment(reading.pick(context, "FormattedOccurrenceTime", "FormattedOccurenceTime")),
        items=(application,) if application else (),
        labels={"detector": reading.pick(context, "SmartDetectorId", "SmartDetectorName")},
        custom=reading.obj(reading.pick(context, "properties")),
        value=reading.number(rate.rstrip("%")),
        unit="%" if rate.endswith("%") else "",
        links=(reading.pick(context, "DetectionUrl", "DetailsLink", "ShortUrl"),),
    )


def budget(context: Context) -> Story | None:
    """Cost alerts; they name money and no resource."""
    data = reading.obj(reading.pick(context, "AlertData")) or context
    name = reading.text(reading.pick(data, "BudgetName"))
    if not name:
        return None
    spent, limit = (
        reading.text(reading.pick(data, *keys))
        for keys in (("SpentAmount", "SpendingAmount"), ("BudgetThreshold", "Budget"))
    )
    unit = reading.text(reading.pick(data, "Unit"), 20)
    return Story(
        name=name,
        summary=reading.text(f"Budget {name}: {spent or 'too much'} of {limit or 'the budget'} {unit} spent", 200),
        identity=(reading.text(reading.pick(data, "BudgetId", "SubscriptionId"), 1000), name),
        items=(name,),
        related=tuple(filter(None, (reading.text(reading.pick(data, "Scope"), 1000),))),
        labels={
            "category": reading.pick(context, "AlertCategory"),
            "threshold_type": reading.pick(data, "ThresholdType"),
        },
        value=reading.number(spent.lstrip("$€£ ").replace(",", "")),
        unit=unit,
    )


def prometheus(context: Context) -> Story | None:
    """Rules of the managed Prometheus service."""
    labels = reading.obj(reading.pick(context, "labels"))
    annotations = reading.obj(reading.pick(context, "annotations"))
    expression = reading.text(reading.pick(context, "expression"), 1500)
    if not expression and not labels:
        return None
    said = reading.plain(reading.pick(annotations, "summary", "title"), 200)
    described = reading.plain(reading.pick(annotations, "description", "message"))
    return Story(
        name=reading.text(reading.pick(labels, "alertname")),
        summary=said or reading.text(described, 200) or reading.text(f"{expression} is true", 200),
        description="\n\n".join(filter(None, (described, f"Expression: {expression}" if expression else ""))),
        identity=tuple(f"{name}={reading.text(labels[name])}" for name in sorted(labels)),
        items=tuple(
            filter(None, (reading.text(reading.pick(labels, key)) for key in ("service", "app", "deployment", "job")))
        ),
        labels={**labels, "runbook_url": reading.pick(annotations, "runbook_url")},
        custom=reading.obj(reading.pick(context, "properties", "customProperties")),
        value=reading.number(reading.pick(context, "expressionValue")),
    )


_READERS: tuple[Callable[[Context], Story | None], ...] = (
    criteria,
    log_search,
    activity_log,
    smart_detection,
    prometheus,
    budget,
)
