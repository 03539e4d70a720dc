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
    await gate({"type": "http", "method": method, "path": path, "headers": pairs}, None, send)  # type: ignore[arg-type]
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

        await gate({"type": "http", "method": "POST", "path": "/predict", "headers": []}, None, send)  # type: ignore[arg-type]
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
        await gate(scope, None, send)  # type: ignore[arg-type]
        assert gate.num_in_work == 0
        assert 'status="499"' in gate._metrics.text()

    asyncio.run(run())
