"""The endpoints, and what they say of themselves in OpenAPI."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from morphmlp.data.clips.windows import usual_windows
from morphmlp.data.sets.background import NOTHING
from morphmlp.display.page import inline
from morphmlp.formatting import as_json, one_line
from morphmlp.serving import openapi
from morphmlp.serving.gate import Gate, refusal_headers, refusal_json
from morphmlp.serving.limits import Limits, Refusal
from morphmlp.serving.metrics import CONTENT_TYPE, Metrics
from morphmlp.serving.page import page, page_policy
from morphmlp.serving.service import Answer, Service, WindowAnswer
from morphmlp.serving.uploads import Upload, received
from morphmlp.tasks.classification.report import as_row
from morphmlp.tasks.classification.timeline.lines import window_row
from morphmlp.tasks.classification.timeline.outputs import segments_json
from morphmlp.tasks.classification.timeline.segments import SHORTEST_S, SegmentFinder, WindowScores

Result = TypeVar("Result")

TOP = "classes of each answer, the most probable first"
LINES = "application/x-ndjson"


class _Options(BaseModel, extra="forbid"):
    """What stands after the question mark of an address."""

    name: str = Field("upload", max_length=500, description="how the answer names a file that is the body itself")


class PredictOptions(_Options):
    top: int = Field(5, ge=1, le=10_000, description=TOP)
    strip: bool = Field(False, description="add the frames that the model saw, a data URL")
    look: bool = Field(False, description="add where the model looked, a data URL")


class WindowOptions(_Options):
    length_s: float | None = Field(None, description="of a window, in seconds; the checkpoint says the usual one")
    step_s: float | None = Field(None, description="from window to window, in seconds")
    top: int = Field(3, ge=1, le=100, description=TOP)  # of thousands of windows, which are in memory at one time
    thumbnails: bool = Field(False, description="add the picture in the middle of each window, a data URL")


def make_app(service: Service, folder: Path) -> FastAPI:
    """The application without its gate, of a service that is started and stopped elsewhere.

    Args:
        folder: private, where uploads are kept while they are worked on.
    """
    app = FastAPI(docs_url=None, redoc_url=None, redirect_slashes=False, **openapi.ABOUT)
    _add_errors(app)
    _add_state(app, service)
    _add_predict(app, service, folder)
    _add_windows(app, service, folder)
    return app


def gated(app: FastAPI, *, limits: Limits, metrics: Metrics, token: str | None, hosts: frozenset[str] | None) -> Gate:
    """The application with its gate, which `/ready` asks whether work is taken."""
    gate: Any = Gate(app, limits=limits, metrics=metrics, token=token, hosts=hosts)
    app.state.gate = gate
    return gate


def _add_errors(app: FastAPI) -> None:
    """Whatever is wrong is one line in the field "error"; a client that has gone gets nothing."""

    def refuse(_: Request, error: Exception) -> Response:
        refusal = _as_refusal(error)
        own = (error.headers if isinstance(error, HTTPException) else None) or {}  # such as Allow
        return _json(refusal_json(refusal), status=refusal.status, headers={**own, **refusal_headers(refusal)})

    for kind in (Refusal, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, refuse)
    app.add_exception_handler(ClientDisconnect, lambda *_: Response(status_code=499))


def _as_refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        return Refusal(error.status_code, f"{error.detail}: the paths and methods are in /openapi.json")
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            return Refusal(422, f"{one_line(first['loc'][-1])[:100]!r} is no option; they are in /openapi.json")
        return Refusal(422, one_line(f"{first['loc'][-1]}={first.get('input')!r}: {first['msg']}")[:300])
    return Refusal(500, "the server failed at this request; its log says why")


def _add_state(app: FastAPI, service: Service) -> None:
    described = as_json(_description(service))

    @app.get("/", include_in_schema=False)
    async def get_page() -> Response:
        return HTMLResponse(page(), headers={"content-security-policy": page_policy()})

    @app.get("/health", **openapi.HEALTH)
    async def health() -> Response:
        return _json('{"status": "alive"}')

    @app.get("/ready", **openapi.READY)
    async def ready(request: Request) -> Response:
        if request.app.state.gate.is_draining:
            raise Refusal(503, "the server is shutting down")
        return _json('{"status": "ready"}')

    @app.get("/labels", **openapi.LABELS)
    async def labels() -> Response:
        return _json(described)

    @app.get("/metrics", **openapi.METRICS)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)


def _description(service: Service) -> dict[str, Any]:
    """The model's classes, and what a client needs to know of the server."""
    predictor, limits = service.predictor, service.limits
    description: dict[str, Any] = {
        "labels": list(predictor.labels),
        "model": predictor.config.name,
        "kind": predictor.kind,
        "threshold": predictor.threshold,
        "shows_where_it_looked": service.looker.can_look,
        "limits": {name: getattr(limits, name) for name in ("upload_mb", "duration_s", "files", "windows")},
    }
    if predictor.kind == "video" and not predictor.config.multi_label:
        length_s, step_s = usual_windows(None, None, config=predictor.input, frames=predictor.config.frames)
        description["windows"] = {"length_s": length_s, "step_s": step_s}
    return description


def _add_predict(app: FastAPI, service: Service, folder: Path) -> None:
    @app.post("/predict", **openapi.PREDICT)
    async def predict(request: Request, options: Annotated[PredictOptions, Query()]) -> Response:
        async def row(upload: Upload) -> dict[str, Any]:
            try:
                return await _row(service, upload, options)
            except Refusal as refusal:
                if len(uploads) == 1:
                    raise
                return {"file": upload.name, "error": refusal.reason}

        async with received(request, folder, limits=service.limits, name=options.name) as uploads:
            rows = await _unless_gone(request, asyncio.gather(*map(row, uploads)))
        return _json(as_json({"results": rows}), status=422 if all("error" in row for row in rows) else 200)


async def _row(service: Service, upload: Upload, options: PredictOptions) -> dict[str, Any]:
    answer: Answer = await service.predict(upload, strip=options.strip, look=options.look)
    row = {"file": upload.name, **as_row(answer.prediction, options.top)}
    del row["path"]
    if service.predictor.kind == "video":
        row["duration_s"] = round(answer.duration_s, 6)
    if options.strip:
        row["strip"] = answer.strip
    if options.look:
        row["look"] = answer.look
    return row


def _add_windows(app: FastAPI, service: Service, folder: Path) -> None:
    @app.post("/windows", **openapi.WINDOWS)
    async def windows(request: Request, options: Annotated[WindowOptions, Query()]) -> Response:
        async with AsyncExitStack() as unfinished:
            receiving = received(request, folder, limits=service.limits, name=options.name)
            uploads = await unfinished.enter_async_context(receiving)
            if len(uploads) != 1:
                raise Refusal(422, f"{len(uploads)} files: /windows takes one; use /predict, or send them one by one")
            begun = service.windows(uploads[0], length_s=options.length_s, step_s=options.step_s)
            duration_s, answers = await _unless_gone(request, begun)
            await unfinished.enter_async_context(aclosing(answers))  # type: ignore[type-var]
            rows = _window_rows(service, uploads[0], options, duration_s=duration_s, answers=answers)
            if LINES not in request.headers.get("accept", ""):
                return _json(as_json(await _unless_gone(request, _joined(rows))))
            stack = unfinished.pop_all()
        return StreamingResponse(_lines(rows, stack), media_type=LINES)


async def _window_rows(
    service: Service,
    upload: Upload,
    options: WindowOptions,
    *,
    duration_s: float,
    answers: AsyncIterator[WindowAnswer],
) -> AsyncIterator[dict[str, Any]]:
    """What the file is, a row for each window, and the segments."""
    predictor = service.predictor
    finder = SegmentFinder(predictor.labels, threshold=predictor.threshold, shortest_s=SHORTEST_S, background=[NOTHING])
    yield {"file": upload.name, "duration_s": round(duration_s, 6)}
    segments = []
    async for answer in answers:
        window = answer.window
        segments += finder.add(WindowScores(window.start_s, window.end_s, window.prediction.probabilities))
        row = window_row(upload.name, window, options.top, None)
        del row["source"]
        yield row | ({"thumbnail": inline(answer.thumbnail)} if options.thumbnails else {})
    yield {"segments": segments_json({upload.name: segments + finder.finish()})[0]["segments"]}


async def _joined(rows: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    """All rows as one value."""
    head, *windows, tail = [row async for row in rows]
    return head | {"windows": windows} | tail


async def _lines(rows: AsyncIterator[dict[str, Any]], stack: AsyncExitStack) -> AsyncIterator[str]:
    """Each row as a line as soon as it is there; the status has gone out, so an error is a line too."""
    async with stack:
        try:
            async for row in rows:
                yield as_json(row) + "\n"
        except Refusal as refusal:
            yield refusal_json(refusal) + "\n"


async def _unless_gone(request: Request, work: "Coroutine[Any, Any, Result] | asyncio.Future[Result]") -> Result:
    """The result of work for a client; it ends when the client hangs up.

    Raises:
        ClientDisconnect: the client has hung up.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait([working, gone], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return await working
    finally:
        gone.cancel()
        if not working.done():
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(body: str, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, media_type="application/json", headers=headers)
