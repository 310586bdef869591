"""Get what the conformance run needs from the package registries, once, into a folder that is never committed.

In: a cache folder. Out: the folder of Microsoft's Python tests, and the folder with the JavaScript SDK.
"""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

SDK_VERSION = "7.15.0"
HERE = Path(__file__).parent


class DownloadFailed(RuntimeError):
    """A package could not be had; the text is what the package manager said."""


def microsoft_tests(cache: Path) -> Path:
    """The folder ``tests`` of the source distribution of azure-servicebus, as it was published.

    Raises:
        DownloadFailed: pip could not get it, or the installed SDK is of another version.
    """
    import azure.servicebus

    installed = azure.servicebus.__version__
    if installed != SDK_VERSION:
        raise DownloadFailed(f"azure-servicebus {installed} is installed, the tests are those of {SDK_VERSION}")
    name = f"azure_servicebus-{SDK_VERSION}"
    archive = cache / "sdist" / f"{name}.tar.gz"
    if not archive.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        # Only this one from source: what builds it may come as a wheel.
        command += [
            "--no-binary",
            "azure-servicebus",
            f"azure-servicebus=={SDK_VERSION}",
            "--dest",
            str(archive.parent),
        ]
        _run(command, cache)
    # Unpacked anew each time, so that nobody's edits are taken for Microsoft's tests.
    shutil.rmtree(cache / name, ignore_errors=True)
    with tarfile.open(archive) as packed:
        packed.extractall(cache, filter="data")
    return cache / name / "tests"


def javascript_sdk(cache: Path) -> Path:
    """A folder ``node_modules`` with the pinned ``@azure/service-bus``.

    Raises:
        DownloadFailed: npm is not here or could not get it.
    """
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise DownloadFailed("node and npm are needed for the JavaScript SDK")
    folder = cache / "js"
    wanted = (HERE / "js" / "package.json").read_text("utf-8")
    stamp = folder / "package.json"
    if not (folder / "node_modules").is_dir() or not stamp.exists() or stamp.read_text("utf-8") != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        stamp.write_text(wanted, "utf-8")
        _run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], folder)
    return folder / "node_modules"


def _run(command: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode != 0:
        raise DownloadFailed(f"{' '.join(command[:4])} ... failed:\n{result.stderr.strip()}")
