"""Operations on rows of one partition, in one call.

In: operations that need one another or not. Out: one write, or one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.ports.store import Operation, Store, Table


def write_together(store: Store, table: Table, partition: str, operations: Sequence[Operation]) -> None:
    """Do all operations or none; a single one is no transaction, which would cost more.

    Args:
        operations: 1 to 100, on distinct rows.
    """
    if len(operations) == 1:
        store.write(table, partition, operations[0])
    else:
        store.transact(table, partition, operations)
