"""The words of a class's name, however it is written."""

import re

_NEXT_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def spaced(name: str) -> str:
    """The name with a space before each word that only a capital begins.

    >>> spaced("TurnLeft"), spaced("CCWSpin"), spaced("moving_left")
    ('Turn Left', 'CCW Spin', 'moving_left')
    """
    return _NEXT_WORD.sub(" ", name)
