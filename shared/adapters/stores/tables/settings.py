"""Settings of the Table Storage adapter.

In: the `store` section of a configuration. Out: a checked model; its secret never shows.
"""

from __future__ import annotations

import base64
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from shared.config.schema import Section


class Config(Section):
    """Settings of the Azure Table Storage adapter. Either `connection` or `endpoint` is needed."""

    connection: SecretStr = Field(
        default=SecretStr(""),
        description="Connection string with a key or a shared access signature: for Azurite and for development.",
    )
    endpoint: str = Field(
        default="",
        description="Address such as https://account.table.core.windows.net, used with the managed identity.",
    )
    client_id: str = Field(
        default="", description="Client id of a user-assigned identity; empty takes the system-assigned one."
    )
    table_prefix: str = Field(
        default="",
        pattern=r"^([A-Za-z][A-Za-z0-9]{0,29})?$",
        description="Before every table's name, so that several installations can share an account.",
    )
    # Together below the 3 s after which the edge gives up on the store (ARCHITECTURE, section 7).
    connect_s: float = Field(default=0.8, gt=0, le=60, description="How long to wait for a connection, in seconds.")
    read_s: float = Field(default=1.7, gt=0, le=60, description="How long to wait for an answer, in seconds.")
    connections: int = Field(default=32, ge=1, le=1000, description="Connections that are kept open.")
    client: Literal["thin", "sdk"] = Field(
        default="thin",
        description="Who makes the calls: `thin`, a client of our own at a quarter of the processor time, or `sdk`, "
        "azure-data-tables. Nothing else differs.",
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> Config:
        connection = self.connection.get_secret_value()
        if bool(connection) == bool(self.endpoint):
            raise ValueError("exactly one of connection and endpoint is needed")
        if connection:
            _check_connection(connection)
        else:
            _check_endpoint(self.endpoint)
        return self


def parts_of(connection: str) -> dict[str, str]:
    """The parts of a connection string that have a value, by their name in lower case."""
    pairs = (part.partition("=") for part in connection.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs if value.strip()}


def _check_connection(connection: str) -> None:
    if connection.strip().lower() == "usedevelopmentstorage=true":
        return
    parts = parts_of(connection)
    key = {"accountname", "accountkey"} <= parts.keys()
    if not (key or ("sharedaccesssignature" in parts and parts.keys() & {"tableendpoint", "accountname"})):
        raise ValueError(
            "connection: a connection string has AccountName and AccountKey, or SharedAccessSignature and TableEndpoint"
        )
    try:
        base64.b64decode(parts.get("accountkey", ""), validate=True)
    except ValueError:
        raise ValueError("connection: the AccountKey is cut off or mistyped; it is no base64") from None


def _check_endpoint(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise ValueError("endpoint: this cannot be read as an address") from None
    if parts.scheme != "https" or not named:
        raise ValueError("endpoint: an address that begins with https:// was expected")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("endpoint: an address without a signature was expected; one with a secret goes to connection")
