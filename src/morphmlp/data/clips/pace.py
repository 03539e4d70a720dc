"""Which classes are a matter of pace, so that their clips keep their own."""

import re
from collections.abc import Sequence

_PACE = re.compile(
    r"(?i)(?<![a-z])(?:fast(?:er)?|slow(?:er|ly|ing)?|quick(?:er|ly)?|rapid(?:ly)?|speed(?:s|ing|ed)?|brak(?:es?|ing)"
    r"|(?:ac|de)celerat(?:e|es|ed|ing|ion))(?![a-z])"
)


def why_not_warped(classes: Sequence[str]) -> str | None:
    """Why clips of these classes should not be shown at another pace, by their names; None where nothing is against it.

    >>> why_not_warped(["speeding_up", "waving"])
    'speeding_up tells of pace'
    >>> why_not_warped(["waving", "breakfast"]) is None
    True
    """
    told = next((name for name in classes if _PACE.search(name)), None)
    return None if told is None else f"{told} tells of pace"
