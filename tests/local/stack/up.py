"""`python -m local up` with a configuration of its own: ``python -m tests.local.stack.up DATA CONFIG``.

In: a data folder and a configuration. Out: a running stack until Ctrl-C.
"""

from __future__ import annotations

import sys
from pathlib import Path

from local.__main__ import up
from local.stack.stack import Stack

if __name__ == "__main__":
    sys.exit(up(Stack(Path(sys.argv[1]), usual=False, config=Path(sys.argv[2]))))
