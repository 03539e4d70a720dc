"""The words of a class's name, however it is written."""

import re

_NEXT_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


def spaced(name: str) -> str:
    """The name with a space before each word that only a capital begins.

    >>> spaced("TurnLeft"), spaced("spinCCW"), spaced("moving_left")
    ('Turn Left', 'spin CCW', 'moving_left')
    """
    return _NEXT_WORD.sub(" ", name)
