"""``python -m argus``."""

from __future__ import annotations

import sys

from argus.cli import main

sys.exit(main(sys.argv[1:]))
