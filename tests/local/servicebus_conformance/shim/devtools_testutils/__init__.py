"""Stands in for the package of the SDK's repository: the broker's credential, and plain TCP for every client.

In: imports of Microsoft's tests. Out: ``get_credential``, the base class, and clients that use neither TLS nor
websockets.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import azure.servicebus
import azure.servicebus.aio
from azure.core.credentials import AzureNamedKeyCredential
from azure.servicebus import TransportType

from tests.local.servicebus_conformance.broker_process import KEY, KEY_NAME


class AzureMgmtRecordedTestCase:
    """The base class of the tests; nothing is recorded here."""

    @staticmethod
    def await_prepared_test(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        """Run a coroutine without a broker to its end."""

        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            asyncio.run(test(*args, **kwargs))

        return run


AzureRecordedTestCase = AzureMgmtRecordedTestCase


def get_credential(**_: Any) -> AzureNamedKeyCredential:
    """The broker's key instead of a login."""
    return AzureNamedKeyCredential(KEY_NAME, KEY)


def _over_tcp(kind: type[Any]) -> None:
    # What UseDevelopmentEmulator=true does in a connection string; the tests give host and credential instead.
    # Tests that look at the websocket itself are in the table; others ask for one and test something else.
    made = kind.__init__

    @functools.wraps(made)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("transport_type") is TransportType.AmqpOverWebsocket:
            kwargs["transport_type"] = TransportType.Amqp
        made(self, *args, **{"use_tls": False, **kwargs})

    kind.__init__ = init


_over_tcp(azure.servicebus.ServiceBusClient)
_over_tcp(azure.servicebus.aio.ServiceBusClient)
