"""Figures and names as text for people."""

import math
from collections.abc import Sequence


def percent(share: float | None, *, digits: int = 1) -> str:
    """0.25 as "25.0%"; "n/a" where there is nothing to show."""
    return "n/a" if share is None or math.isnan(share) else f"{share:.{digits}%}"


def rate(clips_per_s: float, unit: str) -> str:
    """Clips of videos, or images, a second; every draw from a video counts."""
    return f"{clips_per_s:.0f} {'clips' if unit == 'videos' else unit}/s"


def clamp(share: float) -> float:
    """A share for a bar to draw: within 0 and 1, and 0 for NaN."""
    return 0.0 if math.isnan(share) else min(max(share, 0.0), 1.0)


def encodable(text: str) -> str:
    """The text with "?" for each byte of a file name that is no UTF-8; Python holds it as a lone surrogate."""
    return text.encode("utf-8", "replace").decode("utf-8")


def shortened(names: Sequence[str], limit: int = 6) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
