"""The azure-functions library's own converters, by binding type.

In: a binding type. Out: the class that decodes and encodes it, in 1.26 and 2.3 alike.
"""

from __future__ import annotations

from typing import Any

from azure.functions.meta import get_binding_registry


def converter(binding: str) -> Any:
    """The converter registered for a binding type.

    Args:
        binding: as in function.json, such as `httpTrigger`.

    Raises:
        LookupError: the installed library has none.
    """
    found = get_binding_registry().get(binding)  # type: ignore[no-untyped-call]
    if found is None:
        raise LookupError(f"azure-functions has no converter for {binding}")
    return found
