"""The broker held to Microsoft's own tests and to a second client; `python -m tests.local.servicebus_conformance`."""
