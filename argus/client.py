"""HTTP to one ARGUS, with a key or as a person.

In: a target. Out: JSON, or trouble in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2

from argus.forms import Page
from argus.target import Target, Trouble

TIMEOUT_S = 10.0


class Client:
    """Talks to one ARGUS; as a person it keeps that person's session."""

    def __init__(self, target: Target) -> None:
        self._target = target
        # A proxy that the shell names is for the world outside, not for this machine.
        outside = urlsplit(target.url).hostname not in ("127.0.0.1", "localhost", "::1")
        self._http = httpx2.Client(base_url=target.url, timeout=TIMEOUT_S, trust_env=outside, follow_redirects=False)

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def read(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """JSON of the interface, read with the key.

        Raises:
            Trouble: it cannot be reached, or refuses.
        """
        headers = {"x-functions-key": self._target.key_for("default")} if self._target.keys else {}
        return self._json(self._send("GET", path, params=dict(query or {}), headers=headers))

    def signal(self, source: str, body: bytes) -> Any:
        """Post a webhook body as its source would.

        Raises:
            Trouble: it cannot be reached, or refuses.
        """
        headers = {"content-type": "application/json", "x-functions-key": self._target.key_for(source)}
        return self._json(self._send("POST", f"/api/signals/{quote(source, safe='')}", content=body, headers=headers))

    def sign_in(self, user: str) -> None:
        """Sign in on the development sign-in page, like a person.

        Raises:
            Trouble: there is no such page, or nobody of that name.
        """
        page = Page(self._page("/signin"))
        people = page.forms.get("/signin", {}).get("user", [])
        if user not in people:
            known = f"people who can sign in: {', '.join(sorted(people))}" if people else "the page lists nobody"
            raise Trouble(f"nobody called {user} can sign in at {self._target.url}", known)
        self._send("POST", "/signin", data={**page.hidden("/signin"), "user": user})

    def act(self, path: str, fields: Mapping[str, str]) -> Any:
        """Change something as the person who is signed in.

        Raises:
            Trouble: it cannot be reached, or refuses.
        """
        token = self._json(self._send("GET", "/api/session"))["csrf"]
        return self._json(self._send("POST", path, json=dict(fields), headers={"x-csrf-token": token}))

    def decide(self, approval: str, choice: str, comment: str) -> str:
        """Open the approval page, read it, and press one of its buttons.

        Returns:
            What the page says afterwards.

        Raises:
            Trouble: there is no such page, it offers no decision, or refuses this one.
        """
        path = f"/approvals/{quote(approval, safe='')}"
        page = Page(self._page(path))
        if "choice" not in page.forms.get(path, {}):
            why = page.text("verdict", "may-not") or "it offers none to you"
            raise Trouble(f"no decision can be made: {why}", f"see {self._target.url}{path}")
        form = {**page.hidden(path), "choice": choice, "comment": comment}
        answer = self._send("POST", path, data=form, page=True)
        if answer.status_code != 303:
            raise _shown(answer)
        return Page(self._page(answer.headers["location"])).text("message")

    def reaches(self, url: str) -> str:
        """Whether an address answers at all: empty, or why not."""
        try:
            answer = self._http.get(url)
        except httpx2.HTTPError as exc:
            return _short(exc)
        return "" if answer.status_code < 500 else f"answers {answer.status_code}"

    def get_json(self, url: str) -> Any:
        """JSON of another address, such as the broker's statistics.

        Raises:
            Trouble: it cannot be reached, or answers no JSON.
        """
        return self._json(self._send("GET", url))

    def _page(self, path: str) -> str:
        answer = self._send("GET", path, page=True)
        if answer.status_code == 303:
            raise Trouble("the portal asks to sign in", "use --as USER with somebody the portal knows")
        if answer.status_code != 200:
            raise _shown(answer)
        return answer.text

    def _send(self, method: str, path: str, page: bool = False, **more: Any) -> httpx2.Response:
        try:
            answer = self._http.request(method, path, **more)
        except httpx2.HTTPError as exc:
            where = path if path.startswith("http") else self._target.url
            raise Trouble(
                f"{where} does not answer: {_short(exc)}", "is it running? `make up` starts one here"
            ) from exc
        if answer.status_code >= 400 and not page:
            raise _refusal(answer)
        return answer

    def _json(self, answer: httpx2.Response) -> Any:
        try:
            return answer.json()
        except ValueError:
            raise Trouble(f"{answer.request.url} answered no JSON", "is this the address of an ARGUS?") from None


def _refusal(answer: httpx2.Response) -> Trouble:
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    problem = problem if isinstance(problem, dict) else {}
    title, detail = problem.get("title", ""), problem.get("detail", "")
    if answer.status_code == 401:
        detail = "give the key with --key or ARGUS_KEY; for a local stack it is in .argus/up.json"
    return Trouble(f"{title or 'refused'} ({answer.status_code})", str(detail))


def _shown(answer: httpx2.Response) -> Trouble:
    page = Page(answer.text)
    title, message = page.text("title"), page.text("message")
    return Trouble(title or message or f"the portal answered {answer.status_code}", message if title else "")


def _short(exc: httpx2.HTTPError) -> str:
    if isinstance(exc, httpx2.TimeoutException):
        return f"no answer within {TIMEOUT_S:.0f} s"
    return "connection refused" if isinstance(exc, httpx2.ConnectError) else type(exc).__name__
