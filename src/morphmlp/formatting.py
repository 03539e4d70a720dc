"""Figures and names as text for people."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def percent(share: float | None, *, digits: int = 1) -> str:
    """0.25 as "25.0%"; "n/a" where there is nothing to show."""
    return "n/a" if share is None or math.isnan(share) else f"{share:.{digits}%}"


def rate(clips_per_s: float, unit: str) -> str:
    """Clips of videos, or images, a second; every draw from a video counts."""
    return f"{clips_per_s:.0f} {'clips' if unit == 'videos' else unit}/s"


def counted(number: int, noun: str) -> str:
    """
    >>> counted(1, "epoch"), counted(2_000, "step")
    ('1 epoch', '2,000 steps')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def clamp(share: float) -> float:
    """A share for a bar to draw: within 0 and 1, and 0 for NaN."""
    return 0.0 if math.isnan(share) else min(max(share, 0.0), 1.0)


def encodable(text: str) -> str:
    r"""The text as a terminal or a page may show it: nothing in a name may steer them.

    Control characters, and those that turn the direction of writing, are shown as escapes; line ends and tabs stay.
    A byte of a file name that is no UTF-8, which Python holds as a lone surrogate, becomes "?".

    >>> encodable("a\x1b[31m.mp4")
    'a\\x1b[31m.mp4'
    """
    text = _STEERING.sub(lambda match: ascii(match[0])[1:-1], text)
    return text.encode("utf-8", "replace").decode("utf-8")


def one_line(text: object) -> str:
    """An error or another message in one line, as `encodable` shows it."""
    return encodable(" ".join(str(text).splitlines()))


def as_json(values: Any, *, indent: int | None = None) -> str:
    """Values as JSON, which has no NaN and no infinity: they are null there.

    >>> as_json({"loss": float("nan"), "top1": 0.5})
    '{"loss": null, "top1": 0.5}'
    """
    return json.dumps(_finite(values), indent=indent, allow_nan=False)


def _finite(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def csv_text(text: str) -> str:
    """A name as a cell of a csv file: a spreadsheet must not take it for a formula. `from_csv_text` gives it back.

    >>> csv_text("=1+1"), csv_text("'=1+1"), csv_text("pouring tea")
    ("'=1+1", "''=1+1", 'pouring tea')
    """
    return f"'{text}" if re.match(r"'*[=+\-@\t\r]", text) else text


def from_csv_text(cell: str) -> str:
    """The text that `csv_text` made a cell of; others as they are."""
    return cell[1:] if re.match(r"'+[=+\-@\t\r]", cell) else cell


def csv_path(path: object) -> str:
    """A path as a cell of a csv file: such a one as `=x.mp4` becomes `./=x.mp4`, which is the same file."""
    return f"./{path}" if re.match(r"[=+\-@\t\r]", str(path)) else str(path)


def first_line(error: Exception, longest: int = 100) -> str:
    """The first line of an error's message, for a cell of a table."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def shortened(names: Sequence[str], limit: int = 6) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
