"""Which classes are a matter of pace, so that their clips keep their own."""

import re
from collections.abc import Sequence

from morphmlp.data.clips.names import spaced

# Words of their own.
_PACE = re.compile(
    r"(?i)(?<![a-z])(?:fast(?:er|est)?|slow(?:er|est|ly|s|ed|ing)?|quick(?:er|est|ly)?|rapid(?:ly)?"
    r"|speed(?:s|ing|ed|y)?|hurr(?:y|ies|ied|ying)|brak(?:es?|ing)|(?:ac|de)celerat(?:e|es|ed|ing|ion))(?![a-z])"
)


def why_not_warped(classes: Sequence[str]) -> str | None:
    """Why clips of these classes should not be shown at another pace, by their names; None where nothing is against it.

    >>> why_not_warped(["speeding_up", "waving"])
    'speeding_up tells of pace'
    >>> why_not_warped(["waving", "breakfast"]) is None
    True
    """
    told = next((name for name in classes if _PACE.search(spaced(name))), None)
    return None if told is None else f"{told} tells of pace"
