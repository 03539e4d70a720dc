"""Times as lists write them: seconds, minutes:seconds or hours:minutes:seconds."""

import math
import re

ALLOWED = "seconds (75.5), minutes:seconds (1:15.5) or h:mm:ss (0:01:15.5)"

_NUMBER = r"[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+"
_SECONDS = re.compile(rf"([+-]?)((?:{_NUMBER})(?:[eE][+-]?[0-9]+)?) ?s?")
_CLOCK = re.compile(rf"([+-]?)(?:([0-9]+):)?([0-9]+):({_NUMBER})")


def seconds_of(text: str) -> float | None:
    """A finite time in seconds, which may be negative; None where it is none. A comma may be the decimal mark.

    Below the largest unit that is written, 60 is too many:

    >>> seconds_of("75.5"), seconds_of("1:15.5"), seconds_of("1:02:03"), seconds_of("90:00"), seconds_of("1:75")
    (75.5, 75.5, 3723.0, 5400.0, None)
    """
    text = text.strip()
    if match := _SECONDS.fullmatch(text):
        return _signed(match[1], _number(match[2]))
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = float(match[2] or 0), float(match[3]), _number(match[4])
    if seconds >= 60 or (match[2] is not None and minutes >= 60):
        return None
    return _signed(match[1], 3600 * hours + 60 * minutes + seconds)


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _signed(sign: str, value: float) -> float | None:
    if math.isinf(value):
        return None
    return -value if sign == "-" else value


def frames_of(text: str) -> int | None:
    """A frame number, also one that a table wrote as `12.0`; None where it is none."""
    match = re.fullmatch(r"([+-]?[0-9]{1,15})(?:[.,]0*)?", text.strip())
    return int(match[1]) if match else None
