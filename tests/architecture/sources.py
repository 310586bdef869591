"""The project's own files, read once.

In: folders. Out: parsed modules, and every text file of the project.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ("shared", "functions", "local", "argus")
_TEXT = {".py", ".md", ".yaml", ".html", ".css", ".js", ".toml", ".json", ".txt"}
_FOLDERS = (*PRODUCT, "tests", "config", "docs", "runbooks", "benchmarks", "infra")


@lru_cache
def modules(*folders: str) -> tuple[tuple[Path, ast.Module], ...]:
    """Every module below some folders, parsed."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    found += [ROOT / "function_app.py"] if folders == PRODUCT else []
    return tuple((path, ast.parse(path.read_text("utf-8"))) for path in found)


@lru_cache
def files() -> tuple[Path, ...]:
    """Every text file people wrote, and those at the top."""
    found = [path for folder in _FOLDERS for path in sorted((ROOT / folder).rglob("*"))]
    found += sorted(ROOT.iterdir())
    return tuple(path for path in found if path.is_file() and (path.suffix in _TEXT or path.name == "Makefile"))


def shown(path: Path) -> str:
    """A path as people write it."""
    return path.relative_to(ROOT).as_posix()
