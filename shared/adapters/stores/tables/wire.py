"""One request to the Table service over connections that are kept.

In: method, path, headers and body. Out: a whole answer, or an error without address, header or body in it.

Nothing is sent twice from here and no redirect is followed. Proxies and certificates come from the environment, as
requests reads it.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.adapters.stores.tables.access import Account
from shared.adapters.stores.tables.answers import SYSTEM
from shared.adapters.stores.tables.settings import Config
from shared.model.errors import ArgusError, PermanentError, Reason, TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3 import HTTPConnectionPool


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (found in any case) and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Line:
    """Connections to one account. Threads share it.

    Args:
        config: time-outs and how many connections are kept.

    Raises:
        TransientError: the proxy or the certificates that the environment names cannot be used.
    """

    def __init__(self, config: Config, account: Account) -> None:
        from urllib3 import Retry, Timeout

        self._account = account
        self._pool, self._before = _opened(config, account)
        self._timeout = Timeout(connect=config.connect_s, read=config.read_s)
        self._once = Retry(total=False, redirect=False)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._pool.close()

    def send(self, changes: bool, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> Answer:
        """Send one request, once.

        Args:
            changes: it writes, so that a lost answer leaves open whether it did.
            path: percent-encoded, after the account's.
            query: percent-encoded; may be empty.
            headers: dated and signed in place.

        Raises:
            TransientError: no whole answer; ``sent`` is ``None`` when the write may have happened.
            PermanentError: the address is none.
        """
        from urllib3.exceptions import HTTPError

        account = self._account
        path = account.path + path
        headers["x-ms-date"] = formatdate(usegmt=True)
        account.access.sign(method, path, headers)
        queries = [part for part in (query, account.access.query) if part]
        target = f"{self._before}{path}?{'&'.join(queries)}" if queries else self._before + path
        failure: ArgusError
        try:
            found = self._pool.urlopen(
                method,
                target,
                body or None,
                headers,
                retries=self._once,
                redirect=False,
                assert_same_host=False,
                timeout=self._timeout,
                decode_content=False,
            )
            return Answer(found.status, found.headers, found.data)
        except (HTTPError, OSError) as cause:
            failure = _broken_off(cause)
        except ValueError:  # a header or an address that cannot be sent
            failure = PermanentError(f"{SYSTEM} cannot be called at its configured address", Reason.BAD_INPUT)
        if isinstance(failure, TransientError) and not changes:
            failure.sent = False
        raise failure  # outside of the handlers, so that no address travels along as context


def _broken_off(cause: Exception) -> ArgusError:
    """What a failure of urllib3 means; as `http.broken_off` has it for requests."""
    from urllib3 import exceptions as of

    name = type(cause).__name__
    if isinstance(cause, of.LocationValueError):
        return PermanentError(f"{SYSTEM} cannot be called at its configured address", Reason.BAD_INPUT)
    if isinstance(cause, of.ReadTimeoutError):
        return TransientError(f"{SYSTEM} did not answer ({name})", Reason.TIMEOUT, sent=None)
    refused = isinstance(cause, of.SSLError) and any(isinstance(a, ssl.SSLCertVerificationError) for a in cause.args)
    unsent = of.NewConnectionError | of.ConnectTimeoutError | of.ProxyError | of.ClosedPoolError | of.EmptyPoolError
    if refused or isinstance(cause, unsent):
        return TransientError(f"{SYSTEM} cannot be reached ({name})", Reason.UNAVAILABLE, sent=False)
    return TransientError(f"{SYSTEM} broke off ({name})", Reason.UNAVAILABLE, sent=None)


def _opened(config: Config, account: Account) -> tuple[HTTPConnectionPool, str]:
    try:
        return _open(config, account)
    except (OSError, ValueError) as cause:  # told outside, as its text could repeat a proxy's password
        name = type(cause).__name__
    said = f"{SYSTEM} cannot be reached: the environment's proxy or certificates cannot be used ({name})"
    raise TransientError(said, Reason.UNAVAILABLE)


def _open(config: Config, account: Account) -> tuple[HTTPConnectionPool, str]:
    """The pool, and what goes before a path: an address when a proxy reads it, else nothing."""
    from requests.utils import get_auth_from_url, get_environ_proxies, select_proxy
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager
    from urllib3.util import make_headers

    where = f"{account.scheme}://{account.netloc}"
    how: dict[str, object] = {"maxsize": config.connections, "block": False}
    if account.scheme == "https":
        how["ssl_context"] = _trust()
    through = select_proxy(where, get_environ_proxies(where))
    if not through:
        kind = HTTPSConnectionPool if account.scheme == "https" else HTTPConnectionPool
        return kind(account.host, account.port, **how), ""  # type: ignore[arg-type]
    if "://" not in through:
        through = f"http://{through}"
    name, word = get_auth_from_url(through)
    proven = make_headers(proxy_basic_auth=f"{name}:{word}") if name else {}
    bare = urlsplit(through)
    manager = ProxyManager(
        bare._replace(netloc=bare.netloc.rpartition("@")[2]).geturl(),
        proxy_headers=proven,
        **how,  # type: ignore[arg-type]
    )
    return manager.connection_from_url(where), where if account.scheme == "http" else ""


def _trust() -> ssl.SSLContext:
    from requests.utils import DEFAULT_CA_BUNDLE_PATH
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH
    if os.path.isdir(bundle):
        context.load_verify_locations(capath=bundle)
    else:
        context.load_verify_locations(cafile=bundle)
    return context
