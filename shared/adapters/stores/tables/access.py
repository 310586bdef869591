"""Who we are to the Table service, and where it is.

In: settings of the adapter. Out: an address, and requests with a signature or a token; no error here repeats a secret.
"""

from __future__ import annotations

import base64
import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from shared.adapters.stores.tables.answers import SYSTEM
from shared.adapters.stores.tables.settings import Config, parts_of
from shared.model.errors import PermanentError, Reason, TransientError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

SCOPE = "https://storage.azure.com/.default"
EARLY_S = 300.0  # azure-identity asks for a new token this long before the old one ends
AGAIN_S = 30.0  # while an old token still works and no new one can be had

# Azurite's own account; learn.microsoft.com/azure/storage/common/storage-connect-azurite, read 2026-11-21
_AZURITE = (
    "AccountName=devstoreaccount1;TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;AccountKey="
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


class Access(Protocol):
    """Signs requests.

    Attributes:
        query: what every address carries; empty unless it is a shared access signature.
    """

    query: str

    def sign(self, method: str, path: str, headers: dict[str, str]) -> None:
        """Add what proves who we are.

        Args:
            path: as it is sent, percent-encoded and without a query.
            headers: of the request, the date among them; more are added.
        """
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """Where the service is.

    Attributes:
        host: without brackets.
        netloc: host and port as they stand in an address.
        path: before the tables' names; empty, or one that begins with a slash.
    """

    scheme: str
    host: str
    port: int | None
    netloc: str
    path: str
    access: Access


class SharedKey:
    """Signs with the account's key.

    Source: learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key, "Table service (Shared Key)".
    """

    query = ""

    def __init__(self, account: str, key: bytes) -> None:
        self._account = account
        self._key = key

    def sign(self, method: str, path: str, headers: dict[str, str]) -> None:
        """See `Access`."""
        text = f"{method}\n\n{headers.get('Content-Type', '')}\n{headers['x-ms-date']}\n/{self._account}{path}"
        signature = base64.b64encode(hmac.digest(self._key, text.encode(), "sha256")).decode()
        headers["Authorization"] = f"SharedKey {self._account}:{signature}"


class SharedAccess:
    """Has a signature that somebody else made, as a part of every address."""

    def __init__(self, signature: str) -> None:
        self.query = signature.lstrip("?")

    def sign(self, method: str, path: str, headers: dict[str, str]) -> None:
        """Nothing to add."""


class Bearer:
    """Has tokens of an identity, and keeps each until shortly before it ends.

    Args:
        now: seconds since 1970.
    """

    query = ""

    def __init__(self, credential: TokenCredential, now: Callable[[], float] = time.time) -> None:
        self._credential = credential
        self._now = now
        self._asking = threading.Lock()
        self._token = ""
        self._ends = self._renew = 0.0

    def sign(self, method: str, path: str, headers: dict[str, str]) -> None:
        """See `Access`."""
        headers["Authorization"] = f"Bearer {self._current()}"

    def _current(self) -> str:
        now = self._now()
        if now < self._renew:
            return self._token
        usable = now < self._ends
        if not self._asking.acquire(blocking=not usable):
            return self._token  # somebody else asks already
        try:
            if self._now() >= self._renew:
                self._ask(self._now() < self._ends)
            return self._token
        finally:
            self._asking.release()

    def _ask(self, usable: bool) -> None:
        failure: TransientError
        try:
            given = self._credential.get_token(SCOPE)
        except _no_token() as cause:
            if usable:
                self._renew = min(self._now() + AGAIN_S, self._ends)
                return
            failure = _no_identity(cause)
        else:
            # The end comes last: whoever reads without the lock then never takes an old token for a new one.
            self._token = given.token
            self._ends = float(given.expires_on)
            self._renew = max(self._ends - EARLY_S, min(self._now() + AGAIN_S, self._ends))
            return
        raise failure  # outside of the handler, as its text could hold what was sent


def identity(config: Config) -> Any:
    """The app's own identity and no other: a chain of credentials would silently take whatever it finds first."""
    from azure.identity import ManagedIdentityCredential

    return ManagedIdentityCredential(client_id=config.client_id or None, retry_total=1)


def account_of(config: Config) -> Account:
    """Where to call, and how to sign.

    Raises:
        PermanentError: the connection string cannot be used.
    """
    connection = config.connection.get_secret_value()
    if not connection:
        return _account(config.endpoint, Bearer(identity(config)))
    parts = parts_of(_AZURITE if connection.strip().lower() == "usedevelopmentstorage=true" else connection)
    name = parts.get("accountname", "")
    address = parts.get("tableendpoint", "")
    if not address:
        scheme = parts.get("defaultendpointsprotocol", "https")
        address = f"{scheme}://{name}.table.{parts.get('endpointsuffix', 'core.windows.net')}"
    access: Access
    if "accountkey" in parts and name:
        access = SharedKey(name, base64.b64decode(parts["accountkey"]))
    else:
        access = SharedAccess(parts.get("sharedaccesssignature", ""))
    return _account(address, access)


def _account(address: str, access: Access) -> Account:
    if not address.lower().startswith("http"):
        address = "https://" + address
    try:
        parts = urlsplit(address)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
        if host and scheme in ("http", "https"):
            netloc = parts.netloc.rpartition("@")[2]
            return Account(scheme, host, port, netloc, parts.path.rstrip("/"), access)
    except ValueError:  # told below; its text could repeat the address
        pass
    raise PermanentError("store.settings.connection cannot be used as a connection string", Reason.BAD_INPUT)


def _no_token() -> tuple[type[Exception], ...]:
    """What azure-identity raises when there is no token, its own way of reading an answer included."""
    from azure.core.exceptions import AzureError

    return (AzureError, ValueError, TypeError, LookupError, AttributeError, OSError)


def _no_identity(cause: Exception) -> TransientError:
    from azure.core.exceptions import ServiceRequestError, ServiceResponseError

    away = isinstance(cause, ServiceRequestError | ServiceResponseError | OSError)
    reason = Reason.UNAVAILABLE if away else Reason.UNAUTHORIZED
    return TransientError(f"no identity could be had for {SYSTEM} ({type(cause).__name__})", reason)
