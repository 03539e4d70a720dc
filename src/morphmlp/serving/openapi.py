"""What the server's OpenAPI document says: the bodies that are taken, and an example of each answer."""

from importlib.metadata import version
from typing import Any

_SEGMENT = {"start": 0.0, "end": 2.5, "label": "pouring tea", "score": 0.81}
_TOP = [{"label": "pouring tea", "probability": 0.91}, {"label": "washing a cup", "probability": 0.04}]
_WINDOW = {"start": 0.0, "end": 2.0, "answer": "pouring tea", "top": _TOP}
_RESULT = {"file": "clip.mp4", "answer": "pouring tea", "top": _TOP, "duration_s": 4.2}

ABOUT: dict[str, Any] = {
    "title": "morphmlp",
    "version": version("morphmlp"),
    "summary": "Says what videos or images show.",
    "description": (
        "Every error is a JSON object with one line in the field `error`, and the file in the field `file` where it is "
        "about one. Where the server has a token, every path but `/`, `/health` and `/ready` asks for it: "
        "`Authorization: Bearer TOKEN`."
    ),
}


def _error(description: str, line: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": {"error": line}}}}


def _answer(description: str, example: Any, kind: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {kind: {"example": example}}}


_REFUSED: dict[int | str, dict[str, Any]] = {
    401: _error("The token is missing or wrong.", "the token is wrong; send it as the header 'Authorization: ...'"),
    408: _error("The body came too slowly.", "the request did not arrive within 60 s"),
    413: _error("The body is too large.", "the request is larger than the 100 MB that are taken"),
    422: _error("A file cannot be read or is not taken.", "lasts 700.0 s, above the 600 s that are taken; send a part"),
    429: _error("Too many requests are in work.", "64 requests are in work, the most that are taken; try again"),
    503: _error("The server is shutting down.", "the server is shutting down; send the request to another"),
    507: _error("The server's disk is full.", "there is no room on the server's disk; try again later"),
}


def _body(*, several: bool) -> dict[str, Any]:
    """The body of a request: a form of files, or the bytes of one file."""
    file = {"type": "string", "format": "binary"}
    field = {"type": "array", "items": file} if several else file
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": {"type": "object", "properties": {"file": field}}},
                "application/octet-stream": {"schema": file},
            },
        }
    }


HEALTH: dict[str, Any] = {
    "summary": "Whether the server is alive",
    "responses": {200: _answer("It is.", {"status": "alive"})},
}
READY: dict[str, Any] = {
    "summary": "Whether the server takes work",
    "responses": {200: _answer("It does.", {"status": "ready"}), 503: _REFUSED[503]},
}
LABELS: dict[str, Any] = {
    "summary": "The classes, and what is known of the model",
    "responses": {
        200: _answer(
            "The classes in the order of the model.",
            {
                "labels": ["pouring tea", "washing a cup"],
                "model": "morphmlp_video_s",
                "kind": "video",
                "threshold": 0.62,
                "shows_where_it_looked": True,
                "limits": {"upload_mb": 100.0, "duration_s": 600.0, "files": 16, "windows": 2000},
                "windows": {"length_s": 2.0, "step_s": 1.0},
            },
        ),
        401: _REFUSED[401],
    },
}
METRICS: dict[str, Any] = {
    "summary": "Counts for Prometheus",
    "responses": {
        200: _answer("Text format 0.0.4.", 'morphmlp_requests_total{path="/predict",status="200"} 12', "text/plain"),
        401: _REFUSED[401],
    },
}
PREDICT: dict[str, Any] = {
    "summary": "What videos or images show",
    "description": (
        "One file or several. Of several, each that cannot be read has its line in `error`; the status is 422 where "
        "none can. `strip` adds the frames that the model saw, `look` where it looked (Grad-CAM), as data URLs."
    ),
    "openapi_extra": _body(several=True),
    "responses": {200: _answer("A result for each file, in order.", {"results": [_RESULT]}), **_REFUSED},
}
WINDOWS: dict[str, Any] = {
    "summary": "What happens when in a video",
    "description": (
        "With `Accept: application/x-ndjson` the answer comes as lines while it is computed: the file, each window, "
        "and the segments; an error after the first line is a line as well."
    ),
    "openapi_extra": _body(several=False),
    "responses": {
        200: _answer(
            "The windows and the segments.",
            {"file": "clip.mp4", "duration_s": 4.2, "windows": [_WINDOW], "segments": [_SEGMENT]},
        ),
        **_REFUSED,
    },
}
