"""Who gets in: around the application, every request is checked, counted and answered in the end.

It is plain ASGI, so that a request that is refused costs nothing: its body is not read, and nothing is parsed.
"""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from morphmlp.formatting import as_json
from morphmlp.serving.limits import Limits, Refusal
from morphmlp.serving.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

WORK = ("/predict", "/windows")  # what takes files
OPEN = ("/", "/health", "/ready")  # what needs no token
KNOWN = (*WORK, *OPEN, "/labels", "/metrics", "/openapi.json")

_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
_PAUSE_S = 2.0  # of a client that sends the rest of a body that was refused
_NOTHING_ELSE = "default-src 'none'; frame-ancestors 'none'"  # for all that is no page


class Gate:
    """The application with its checks around it.

    Attributes:
        is_draining: no new work is taken.
        num_in_work: requests of `WORK` that are received, wait or are worked on.

    Args:
        token: that a client has to send as `Authorization: Bearer`; None asks for none.
        hosts: names under which the server may be addressed, where a name of another would be an attack through the
            browser of its user (DNS rebinding); None takes every name.
        check: called before each request of `WORK`; raises Refusal where none can be taken yet.
    """

    def __init__(
        self,
        app: App,
        *,
        limits: Limits,
        metrics: Metrics,
        token: str | None = None,
        hosts: frozenset[str] | None = None,
    ):
        self._app, self._limits, self._metrics = app, limits, metrics
        self._token = None if token is None else token.encode()
        self._hosts = hosts
        self.is_draining = False
        self.num_in_work = 0
        self._cut = asyncio.Event()
        metrics.gauge("requests_in_work", lambda: self.num_in_work)
        metrics.gauge("draining", lambda: float(self.is_draining))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, answer = time.monotonic(), _Answer(receive, send, most_s=self._limits.upload_s)
        try:
            self._require_welcome(scope)
            await self._work(scope, answer.receive, answer.send)
        except Refusal as refusal:
            await answer.refuse(refusal)
        except _SlowReader:
            answer.status = 499
        path = scope["path"] if scope["path"] in KNOWN else "other"
        self._metrics.count("requests_total", path=path, status=str(answer.status))
        self._metrics.observe("request_seconds", time.monotonic() - began, path=path)

    async def cut(self) -> None:
        """Ends the requests that are in work: they are told so."""
        self._cut.set()
        while self.num_in_work:
            await asyncio.sleep(0.01)

    def _require_welcome(self, scope: Message) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if self._hosts is not None and _name_of(host) not in self._hosts:
            raise Refusal(421, "the server is not addressed by this name; use localhost, or set a token")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise Refusal(403, "pages of other origins may not use this server")
        if scope["path"] not in OPEN:
            self._require_token(headers.get("authorization", ""))
        if scope["path"] in WORK and scope["method"] == "POST":
            if self.is_draining:
                raise Refusal(503, "the server is shutting down; send the request to another")
            if self.num_in_work >= self._limits.queue:
                raise Refusal(429, f"{self._limits.queue} requests are in work, the most that are taken; try again")

    def _require_token(self, authorization: str) -> None:
        """The comparison takes as long for every token, so that none can be guessed letter by letter."""
        if self._token is None:
            return
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token):
            said = "is wrong" if authorization else "is missing"
            raise Refusal(401, f"the token {said}; send it as the header 'Authorization: Bearer TOKEN'")

    async def _work(self, scope: Message, receive: Receive, send: Send) -> None:
        """Runs the application; work ends when the server cannot wait for it any longer."""
        if scope["path"] not in WORK:
            await self._app(scope, receive, send)
            return
        place = _Place(self)

        async def send_and_leave(message: Message) -> None:
            """Leaves before the client has its answer, so that its next request finds the place free."""
            if message["type"] == "http.response.body" and not message.get("more_body"):
                place.leave()
            await send(message)

        work = asyncio.ensure_future(self._app(scope, receive, send_and_leave))
        cut = asyncio.ensure_future(self._cut.wait())
        try:
            await asyncio.wait([work, cut], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise Refusal(503, "the server is shut down before this request is done; send it to another")
            await work
        finally:
            cut.cancel()
            work.cancel()
            await asyncio.wait([work])
            place.leave()


class _Place:
    """A request among those in work, until it leaves."""

    def __init__(self, gate: Gate):
        self._gate = gate
        self._is_taken = True
        gate.num_in_work += 1

    def leave(self) -> None:
        self._gate.num_in_work -= self._is_taken
        self._is_taken = False


class _SlowReader(Exception):
    """A client does not take its answer."""


class _Answer:
    """What is sent to a client, with the headers that every answer has.

    Attributes:
        status: of the answer; 499 where the client has gone before there was one.

    Args:
        most_s: that the server waits for the client to take its answer, in all.
    """

    def __init__(self, receive: Receive, send: Send, *, most_s: float):
        self._receive, self._send, self._most_s = receive, send, most_s
        self._left_s = most_s
        self._is_body_read = False
        self.status = 499

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_body_read = not message.get("more_body")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = _with_ours(message.get("headers", []))
        is_last = message["type"] == "http.response.body" and not message.get("more_body")
        if not is_last or self.status < 400 or self._is_body_read:
            await self._pass_on(message)
            return
        await self._pass_on({**message, "more_body": True})
        try:
            await self._read_rest()
        finally:
            await self._pass_on({"type": "http.response.body", "body": b""})

    async def refuse(self, refusal: Refusal) -> None:
        """Answers with the status and the line, unless the answer has begun: then it breaks off."""
        if self.status != 499:
            return
        body = refusal_json(refusal).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(name.encode(), value.encode()) for name, value in refusal_headers(refusal).items()]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def _pass_on(self, message: Message) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._left_s):
                await self._send(message)
        except TimeoutError:
            raise _SlowReader from None
        self._left_s -= time.monotonic() - began

    async def _read_rest(self) -> None:
        """Reads what a client still sends that has been refused, and keeps none of it.

        A connection that is closed before has an end that many clients take for a failure of the network: they throw
        away the answer, which says why.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(self._most_s):
                while not self._is_body_read:
                    async with asyncio.timeout(_PAUSE_S):
                        await self.receive()


def _with_ours(headers: Collection[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers, and those of ours that are not among them."""
    present = {name.decode("latin-1").lower() for name, _ in headers}
    added = {**_HEADERS, "content-security-policy": _NOTHING_ELSE}
    return [*headers, *((name.encode(), value.encode()) for name, value in added.items() if name not in present)]


def refusal_json(refusal: Refusal) -> str:
    """The body of every answer that is an error."""
    return as_json({"error": refusal.reason} | ({"file": refusal.file} if refusal.file is not None else {}))


def refusal_headers(refusal: Refusal) -> dict[str, str]:
    if refusal.status == 401:
        return {"www-authenticate": "Bearer"}
    return {"retry-after": "1"} if refusal.status in (429, 503) else {}


def _name_of(host: str) -> str:
    """The name in a Host header, without its port; "" where it is none.

    >>> _name_of("localhost:8000"), _name_of("[::1]:8000")
    ('localhost', '::1')
    """
    try:
        parts = urlsplit(f"//{host}")
    except ValueError:
        return ""
    return "" if parts.username is not None else parts.hostname or ""
