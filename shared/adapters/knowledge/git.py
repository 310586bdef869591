"""A Git repository on this machine.

In: document drafts. Out: Markdown files under ``runbooks`` and ``reviews``, one commit per change, nothing pushed.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from pydantic import Field

from shared.adapters.registry import Surroundings
from shared.config.schema import Section
from shared.model.document import DocumentDraft, DocumentKind
from shared.model.errors import PermanentError, Reason, TransientError
from shared.ports.knowledge import Published

TIMEOUT_S = 10.0
STALE_LOCK_S = 600.0  # no command here takes longer than TIMEOUT_S, so this one was killed
TRAILER = "Argus-Document"
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,119}")
_FOLDER = {DocumentKind.RUNBOOK: "runbooks", DocumentKind.REVIEW: "reviews"}
_PLAIN = (
    *("-c", f"core.hooksPath={os.devnull}", "-c", "commit.gpgsign=false", "-c", "gc.auto=0"),
    *("-c", "core.autocrlf=false", "-c", "core.quotePath=false", "-c", "core.fsmonitor=false"),
)


class GitConfig(Section):
    """A folder that is, or becomes, a Git repository."""

    path: str = Field(min_length=1, description="Folder of the repository; relative to the application.")
    branch: str = Field(default="main", pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,100}$", description="First branch.")
    author_name: str = Field(default="ARGUS", pattern=r"^[^<>\n]{1,100}$", description="Author of the commits.")
    author_email: str = Field(
        default="argus@localhost",
        pattern=r"^[^<>\s]{1,200}$",
        description="E-mail of the author; a file whose last commit has another one is a person's and left alone.",
    )
    url_template: str = Field(
        default="",
        description="Address of a document for people, with `{path}` and `{slug}`; empty: a file URL.",
    )


class GitKnowledge:
    """Publishes into one repository. Several processes may share it."""

    def __init__(self, config: GitConfig, root: Path) -> None:
        self._config = config
        self._folder = root / config.path

    def publish(self, draft: DocumentDraft) -> Published:
        """Write and commit the file; see the port `shared.ports.knowledge`."""
        if not _SLUG.fullmatch(draft.slug):
            raise PermanentError(f"{draft.slug[:60]!r} cannot be a file name", Reason.BAD_INPUT)
        name = f"{_FOLDER[draft.kind]}/{draft.slug}.md"
        try:
            with self._alone():
                changed = self._commit(draft, name)
        except OSError as cause:
            raise TransientError(f"the Git folder cannot be written ({type(cause).__name__})") from None
        return Published(self._address(draft, name), changed)

    def _commit(self, draft: DocumentDraft, name: str) -> bool:
        self._free_stale_lock()
        text = draft.markdown if draft.markdown.endswith("\n") else f"{draft.markdown}\n"
        content = text.encode("utf-8", "replace")
        file = self._folder / name
        standing = self._folder.joinpath(name).read_bytes() if file.is_file() else None
        committed = self._git("ls-tree", "--name-only", "HEAD", "--", name) if self._has_commits() else ""
        dirty = bool(self._git("status", "--porcelain", "--", name))
        if standing == content and not dirty:
            return False
        if committed:
            self._check_owner(draft, name)
        if dirty and standing != content:
            # Unless it is what we were about to commit when we were stopped, somebody is writing here.
            raise PermanentError(f"{name} has changes nobody committed; it is left alone", Reason.CONFLICT)
        _replace(file, content)
        self._git("add", "--", name)
        title = " ".join(draft.title.split())[:60]
        message = f"{draft.slug}: {title}\n\nIncident: {draft.incident_id}\n{TRAILER}: {draft.id}\n"
        self._git("commit", "--quiet", "--no-verify", "-m", message, "--", name)
        return True

    def _check_owner(self, draft: DocumentDraft, name: str) -> None:
        last = self._git("log", "-1", f"--format=%ae%n%(trailers:key={TRAILER},valueonly)", "--", name)
        email, _, document = last.partition("\n")
        if email != self._config.author_email:
            raise PermanentError(f"somebody edited {name}; it is left alone", Reason.CONFLICT)
        if document.strip() != draft.id:
            raise PermanentError(f"{name} belongs to another document", Reason.CONFLICT)

    def _has_commits(self) -> bool:
        return self._run("rev-parse", "--quiet", "--verify", "HEAD").returncode == 0

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time over all processes; the kernel frees the lock of a process that was killed."""
        import fcntl  # Unix only, like the hosts this runs on; imported here so that listing adapters works anywhere

        repository = self._folder / ".git"
        repository.mkdir(parents=True, exist_ok=True)
        with (repository / "argus.lock").open("w") as lock:
            until = time.monotonic() + TIMEOUT_S
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise TransientError("another process is publishing to the Git folder") from None
                    time.sleep(0.05)
            if not all((repository / part).exists() for part in ("HEAD", "config", "objects", "refs")):
                self._git("init", "--quiet", f"--initial-branch={self._config.branch}", str(self._folder))
            yield

    def _free_stale_lock(self) -> None:
        lock = self._folder / ".git" / "index.lock"
        with contextlib.suppress(FileNotFoundError):
            if time.time() - lock.stat().st_mtime > STALE_LOCK_S:
                lock.unlink()

    def _git(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode == 0:
            return done.stdout.strip()
        if any(words in done.stderr for words in (".lock': File exists", "cannot lock ref", "could not lock")):
            raise TransientError("the Git folder is in use")
        raise PermanentError(f"git {arguments[0]} failed: {done.stderr.strip()[:200]}", Reason.REFUSED)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        author, email = self._config.author_name, self._config.author_email
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_LITERAL_PATHSPECS": "1",
        }
        if arguments[0] != "init":
            environment["GIT_DIR"] = str(self._folder / ".git")  # never a repository further up
            environment["GIT_WORK_TREE"] = str(self._folder)
        identity = ("-c", f"user.name={author}", "-c", f"user.email={email}")
        command = ["git", *_PLAIN, *identity, *arguments]
        try:
            return subprocess.run(
                command,
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TransientError(f"git {arguments[0]} took too long", Reason.TIMEOUT, sent=None) from None
        except FileNotFoundError:
            raise PermanentError("git is not installed here", Reason.NOT_FOUND) from None

    def _address(self, draft: DocumentDraft, name: str) -> str:
        template = self._config.url_template
        if not template:
            return (self._folder / name).resolve().as_uri()
        return template.replace("{path}", quote(name)).replace("{slug}", quote(draft.slug))


def _replace(file: Path, content: bytes) -> None:
    """Write a whole file or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".argus-")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(file)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def build(name: str, config: GitConfig, surroundings: Surroundings) -> GitKnowledge:
    """The destination of one section."""
    return GitKnowledge(config, surroundings.root)
