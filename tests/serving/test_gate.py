"""Who gets in: the gate around an application that answers at once, or never."""

import asyncio
import json
from typing import Any

import pytest

from morphmlp.serving.gate import Gate, _name_of
from morphmlp.serving.limits import Limits
from morphmlp.serving.metrics import Metrics


async def answers(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


async def nothing_more() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def never_answers(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(600)


def gate_of(
    app: Any = answers, *, token: str | None = None, hosts: frozenset[str] | None = None, **limits: Any
) -> Gate:
    return Gate(app, limits=Limits(**limits), metrics=Metrics(), token=token, hosts=hosts)


async def ask(gate: Gate, path: str = "/predict", *, method: str = "POST", **headers: str) -> tuple[int, Any]:
    """Status and body of the answer to a request."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await gate({"type": "http", "method": method, "path": path, "headers": pairs}, nothing_more, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def status(gate: Gate, path: str = "/predict", **headers: str) -> int:
    return asyncio.run(ask(gate, path, **headers))[0]


def test_a_token_opens_all_that_is_not_open():
    gate = gate_of(token="open-sesame")
    for path in ("/predict", "/windows", "/labels", "/metrics", "/openapi.json", "/nothing"):
        assert status(gate, path) == 401
        assert status(gate, path, authorization="Bearer open-sesam") == 401
        assert status(gate, path, authorization="Basic open-sesame") == 401
        assert status(gate, path, authorization="Bearer öpen") == 401
        assert status(gate, path, authorization="Bearer open-sesame") == 200
        assert status(gate, path, authorization="bearer open-sesame") == 200
    for path in ("/", "/health", "/ready"):
        assert status(gate, path) == 200


def test_a_token_is_asked_for_in_a_line_that_says_how():
    code, body = asyncio.run(ask(gate_of(token="open-sesame")))
    assert (code, body) == (401, {"error": "the token is missing; send it as the header 'Authorization: Bearer TOKEN'"})


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch):
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda *pair: compared.append(pair) or False)
    assert status(gate_of(token="open-sesame"), authorization="Bearer open-sesame") == 401
    assert compared == [(b"open-sesame", b"open-sesame")]


def test_a_page_of_another_origin_may_not_ask():
    gate = gate_of()
    assert status(gate, host="127.0.0.1:8000", origin="http://127.0.0.1:8000") == 200
    for origin in ("http://127.0.0.1:8001", "https://example.org", "null"):
        assert status(gate, host="127.0.0.1:8000", origin=origin) == 403


def test_a_name_that_somebody_else_points_at_this_machine_is_refused():
    gate = gate_of(hosts=frozenset(["localhost", "127.0.0.1", "::1"]))
    for host in ("localhost:8000", "LOCALHOST", "127.0.0.1:9", "[::1]:8000"):
        assert status(gate, host=host) == 200
    for host in ("example.org:8000", "127.0.0.1.example.org", "", "localhost@example.org", "example.org@localhost"):
        assert status(gate, host=host) == 421
    assert _name_of("[bad") == ""


def test_no_more_requests_are_in_work_than_are_allowed():
    async def run() -> None:
        gate = gate_of(never_answers, queue=2)
        held = [asyncio.ensure_future(ask(gate)) for _ in range(2)]
        await asyncio.sleep(0)
        code, body = await ask(gate)
        assert (code, body) == (429, {"error": "2 requests are in work, the most that are taken; try again"})
        assert gate.num_in_work == 2
        held[0].cancel()
        await asyncio.wait([held[0]])
        assert gate.num_in_work == 1
        held[1].cancel()
        await asyncio.wait([held[1]])

    asyncio.run(run())


def test_a_client_that_has_its_answer_finds_its_place_free():
    async def run() -> None:
        gate = gate_of(queue=1)
        found: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                found.append(gate.num_in_work)

        await gate({"type": "http", "method": "POST", "path": "/predict", "headers": []}, nothing_more, send)
        assert found == [0]
        assert gate.num_in_work == 0

    asyncio.run(run())


def test_work_that_is_cut_off_is_told_so():
    async def run() -> None:
        gate = gate_of(never_answers)
        held = asyncio.ensure_future(ask(gate))
        await asyncio.sleep(0)
        gate.is_draining = True
        await gate.cut()
        code, body = await held
        assert code == 503
        assert body["error"].startswith("the server is shut down before this request is done")
        assert gate.num_in_work == 0

    asyncio.run(run())


def test_a_client_that_does_not_take_its_answer_is_given_up():
    async def run() -> None:
        gate = gate_of(upload_s=0.01)

        async def send(message: Any) -> None:
            await asyncio.sleep(600)

        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
        await gate(scope, nothing_more, send)
        assert gate.num_in_work == 0
        assert 'status="499"' in gate._metrics.text()

    asyncio.run(run())


def test_a_client_that_takes_its_answer_too_slowly_as_a_whole_is_given_up():
    async def trickles(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async def run() -> None:
        gate = gate_of(trickles, upload_s=0.05)

        async def send(message: Any) -> None:
            await asyncio.sleep(0.01)  # each is taken well within the time

        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
        await asyncio.wait_for(gate(scope, nothing_more, send), 20)
        assert gate.num_in_work == 0

    asyncio.run(run())


async def refused(receive: Any, **limits: Any) -> list[Any]:
    """What is sent to a client without a token."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    gate = gate_of(token="open-sesame", **limits)
    await gate({"type": "http", "method": "POST", "path": "/predict", "headers": []}, receive, send)
    return sent


def test_the_rest_of_a_refused_body_is_read_after_the_answer_and_before_its_end():
    async def run() -> None:
        parts = [b"a", b"b", b"c"]

        async def receive() -> Any:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        start, answer, end = await refused(receive)
        assert parts == []
        assert start["status"] == 401
        assert b"the token is missing" in answer["body"]
        assert answer["more_body"]
        assert (end["body"], end.get("more_body", False)) == (b"", False)

    asyncio.run(run())


def test_a_refused_client_that_sends_nothing_more_or_for_ever_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    async def silent() -> Any:
        await asyncio.sleep(600)

    async def endless() -> Any:
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": b"x", "more_body": True}

    monkeypatch.setattr("morphmlp.serving.gate._PAUSE_S", 0.05)
    for receive in (silent, endless):
        assert len(asyncio.run(refused(receive, upload_s=0.2))) == 3


def test_an_answer_that_has_begun_breaks_off_without_an_error():
    async def begins(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(600)

    async def run() -> None:
        gate, sent = gate_of(begins), []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/windows", "headers": []}
        held = asyncio.ensure_future(gate(scope, nothing_more, send))
        await asyncio.sleep(0)
        await gate.cut()
        await held  # raises nothing, which would be a traceback in the server's log
        assert len(sent) == 1

    asyncio.run(run())
