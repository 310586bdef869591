"""How the files are laid out: names, sizes, what may stand where."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import PRODUCT, ROOT, files, modules, shown

MAX_LINES = 400
FORBIDDEN_NAMES = {"util", "utils", "helper", "helpers", "common", "base", "manager", "managers", "misc"}
UNFINISHED = ("TO" + "DO", "FIX" + "ME", "X" + "XX")
# Where an invocation or a connection ends, and whatever happened there must not end the host or the broker.
ENDINGS = {
    "local/host/durable/scheduler.py",
    "local/host/invoke.py",
    "local/host/queues.py",
    "local/host/timers.py",
    "local/servicebus/connection.py",
}
MAY_BE_RANDOM = {"shared/agents/sentinel/fold_memory.py"}  # names its own rows among those of other processes
NOT_PURE = {"now", "utcnow", "today", "monotonic", "perf_counter", "uuid1", "uuid4", "token_hex", "token_urlsafe"}


def test_nothing_is_larger_than_400_lines() -> None:
    sizes = {shown(path): len(path.read_bytes().splitlines()) for path in files() if path.suffix != ".txt"}
    assert not {name: size for name, size in sizes.items() if size > MAX_LINES}


def test_no_file_has_a_name_that_says_nothing() -> None:
    code = [path for path in files() if path.suffix == ".py"]
    parts = {(shown(path), part) for path in code for part in (*path.relative_to(ROOT).parts[:-1], path.stem)}
    assert not [name for name, part in parts if part.lower() in FORBIDDEN_NAMES]


def test_only_wiring_sits_directly_in_shared() -> None:
    assert {path.name for path in (ROOT / "shared").glob("*.py")} == {"__init__.py", "wiring.py"}


def test_the_function_app_is_small() -> None:
    text = (ROOT / "function_app.py").read_text("utf-8")
    assert len(text.splitlines()) < 30
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path, _ in modules(*PRODUCT, "tests") if "apps" not in path.parts} - {ROOT}
    missing = [shown(folder) for folder in folders if not (folder / "__init__.py").exists()]
    assert not missing


def test_no_installed_distribution_takes_our_names() -> None:
    """A Functions worker searches dependencies before our code; `shared` is on PyPI."""
    taken = importlib.metadata.packages_distributions()
    assert not {name: taken[name] for name in PRODUCT if name in taken}


def test_the_function_app_refuses_a_foreign_shared(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "__init__.py").write_text("")
    code = f"import sys, runpy; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; runpy.run_path('function_app.py')"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    told = result.stderr.splitlines()[-1]
    assert told.startswith(f"ImportError: `shared` was found at {tmp_path}")
    assert told.endswith("uninstall that package")


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {node.id if isinstance(node, ast.Name) else None for node in caught}
    swallows = not (isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None)
    return swallows and (handler.type is None or bool(names & {"Exception", "BaseException"}))


def test_everything_is_caught_only_where_a_hop_an_invocation_or_a_connection_ends() -> None:
    found = {
        shown(path)
        for path, tree in modules(*PRODUCT)
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and _catches_everything(node)
    }
    assert not {name for name in found - ENDINGS if not name.startswith("shared/dispatch/")}
    assert "shared/dispatch/failures.py" in found


def test_nothing_is_left_unfinished() -> None:
    found = [(shown(path), word) for path in files() for word in UNFINISHED if word in path.read_text("utf-8").split()]
    raised = [
        shown(path)
        for path, tree in modules(*PRODUCT)
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and "NotImplementedError" in ast.dump(node)
    ]
    assert not found + raised


@pytest.mark.parametrize("folder", PRODUCT)
def test_every_module_begins_with_a_sentence(folder: str) -> None:
    wrong = []
    for path, tree in modules(folder):
        text = ast.get_docstring(tree) or ""
        sentence = " ".join(text.split("\n\n")[0].split())
        if not sentence.endswith(".") or not (sentence[0].isupper() or sentence[0] in "`$"):
            wrong.append(shown(path))
        if path.name not in ("__init__.py", "__main__.py") and not ("In: " in text and "Out: " in text):
            wrong.append(f"{shown(path)}: no In and Out")
    assert not wrong


def test_the_model_needs_the_standard_library_only() -> None:
    foreign = []
    for path, tree in modules("shared/model"):
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("shared.model"):
                    foreign.append(f"{shown(path)}: {name}")
    assert not foreign


def test_micro_agents_have_no_clock_and_no_randomness() -> None:
    found = [
        f"{shown(path)}: {node.func.attr}"
        for path, tree in modules("shared/agents", "shared/records", "shared/model")
        if shown(path) not in MAY_BE_RANDOM
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in NOT_PURE
    ]
    assert not found


def test_import_contracts_hold() -> None:
    """The same command as in `make check`, so that `make test` alone shows a broken layer, too."""
    program = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout
    assert " 0 broken" in result.stdout
