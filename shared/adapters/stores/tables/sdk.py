"""The Table service through azure-data-tables: one call, one request, no retry.

In: checked keys, values and conditions. Out: rows and ETags, or the errors of `answers`.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from shared.adapters.stores.tables import answers
from shared.adapters.stores.tables.access import identity
from shared.adapters.stores.tables.entities import to_entity, to_row
from shared.adapters.stores.tables.service import Token, known
from shared.adapters.stores.tables.settings import Config
from shared.model.errors import PermanentError, Reason
from shared.ports.store import Delete, Insert, Operation, Replace, Row

if TYPE_CHECKING:
    from azure.data.tables import TableClient, TableEntity, TableServiceClient

# These write addresses and a line per request.
for _name in ("azure.core.pipeline.policies.http_logging_policy", "azure.identity", "msal"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class SdkService:
    """Calls of the Table service. Threads share it; nothing is connected before the first call."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._timeout_s = math.ceil(config.read_s)  # the service gives up too, so that no late write surprises
        self._opening = threading.Lock()
        self._account: TableServiceClient | None = None
        self._clients: dict[str, TableClient] = {}

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._opening:
            account, self._account = self._account, None
            self._clients = {}
        if account is not None:
            account.close()

    def create(self, table: str) -> None:
        """Create a table, unless it exists."""
        client = self._client(table)
        try:
            answers.judged(True, client.create_table)
        except answers.Refused as refused:
            if refused.code not in answers.TABLE_EXISTS:
                raise

    def get(self, table: str, partition: str, key: str) -> Row:
        """One row; `Refused` when there is none."""
        client = self._client(table)
        entity = answers.judged(False, lambda: client.get_entity(partition, key, timeout=self._timeout_s))
        return _row(table, entity)

    def write(self, table: str, partition: str, operation: Operation) -> str:
        """One operation; gives the new ETag, empty after a delete."""
        client = self._client(table)
        how = {**_condition(operation), "timeout": self._timeout_s}
        if isinstance(operation, Delete):
            self._delete(client, partition, operation.key, how)
            return ""
        entity = to_entity(partition, operation.key, operation.values)
        if isinstance(operation, Insert):
            call = partial(client.create_entity, entity, response_preference="return-no-content", **how)
        elif isinstance(operation, Replace):
            call = partial(client.update_entity, entity, mode=_replace(), **how)
        else:
            call = partial(client.upsert_entity, entity, mode=_replace(), **how)
        return answers.judged(True, lambda: _etag(call()))

    def transact(self, table: str, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """All operations or none; gives the new ETags, empty after a delete."""
        client = self._client(table)
        parts = [_part(partition, operation) for operation in operations]
        return answers.judged(True, lambda: [str(part.get("etag") or "") for part in client.submit_transaction(parts)])

    def page(
        self, table: str, query: str, most: int, after: Token | None, select: str | None = None
    ) -> tuple[list[Row], Token | None]:
        """Some rows of a query, in key order, and where it goes on; the service may give fewer than there are.

        Args:
            query: OData filter; empty for all rows.
            most: 1 to 1000.
        """
        client = self._client(table)
        how: dict[str, Any] = {"results_per_page": most, "select": select, "timeout": self._timeout_s}

        def read() -> tuple[list[TableEntity], Token | None]:
            found = client.query_entities(query, **how) if query else client.list_entities(**how)
            pages: Any = found.by_page(cast(Any, after))  # typed as text in the SDK, used as a mapping
            return list(next(pages, ())), pages.continuation_token

        entities, token = answers.judged(False, read)
        return [_row(table, entity) for entity in entities], token

    def _delete(self, client: TableClient, partition: str, key: str, how: Mapping[str, Any]) -> None:
        """The SDK keeps quiet about a row that was not there, so the answer itself is looked at."""
        codes: list[str] = []

        def look(answer: Any) -> None:
            if answer.http_response.status_code == 404:
                codes.append(answers.code_of(answer.http_response))

        answers.judged(True, lambda: client.delete_entity(partition, key, raw_response_hook=look, **how))
        for code in codes:
            raise answers.refusal(404, code)

    def _client(self, table: str) -> TableClient:
        found = self._clients.get(table)
        if found is None:
            with self._opening:
                if self._account is None:
                    self._account = _open(self._config)
                found = self._clients[table] = self._account.get_table_client(table)
        return found


def _open(config: Config) -> TableServiceClient:
    """A client without retries of its own: the hop is the one layer that tries again (rule H10)."""
    from azure.core.pipeline.transport import RequestsTransport
    from azure.data.tables import TableServiceClient
    from requests import Session
    from requests.adapters import HTTPAdapter

    session = Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=config.connections, max_retries=0))
    transport = RequestsTransport(
        session=session, connection_timeout=config.connect_s, read_timeout=config.read_s, use_env_settings=True
    )
    how: dict[str, Any] = {"transport": transport, "retry_total": 0, "permit_redirects": False}
    connection = config.connection.get_secret_value()
    if not connection:
        return TableServiceClient(endpoint=config.endpoint, credential=identity(config), **how)
    try:
        return TableServiceClient.from_connection_string(connection, **how)
    except ValueError:  # outside of the handler, as its text could repeat the key
        wrong = PermanentError("store.settings.connection cannot be used as a connection string", Reason.BAD_INPUT)
    raise wrong


def _condition(operation: Operation) -> dict[str, Any]:
    """What the SDK calls the ETag that must still be there."""
    from azure.core import MatchConditions

    etag = operation.etag if isinstance(operation, Replace | Delete) else None
    if etag is None:
        return {}
    return {"etag": known(etag), "match_condition": MatchConditions.IfNotModified}


def _part(partition: str, operation: Operation) -> tuple[str, dict[str, Any], dict[str, Any]]:
    how = _condition(operation)
    if isinstance(operation, Delete):
        return "delete", {"PartitionKey": partition, "RowKey": operation.key}, how
    entity = to_entity(partition, operation.key, operation.values)
    if isinstance(operation, Insert):
        return "create", entity, {"response_preference": "return-no-content"}
    return "update" if isinstance(operation, Replace) else "upsert", entity, {**how, "mode": _replace()}


def _replace() -> Any:
    from azure.data.tables import UpdateMode

    return UpdateMode.REPLACE


def _row(table: str, entity: TableEntity) -> Row:
    return to_row(table, entity, str(entity.metadata["etag"]))


def _etag(metadata: Mapping[str, Any]) -> str:
    etag = metadata.get("etag")
    if not etag:
        raise ValueError("no ETag")
    return str(etag)
