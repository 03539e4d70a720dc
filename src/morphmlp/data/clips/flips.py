"""What a left-right flip makes of a class: "left to right" becomes "right to left", most stay what they are."""

import re
from collections.abc import Sequence

from morphmlp.data.clips.names import spaced
from morphmlp.formatting import shortened

# A word of its own, also between underscores, or the first part of one such as "leftwards".
_SIDE = re.compile(
    r"(?<![a-zA-Z])(?:left|right|Left|Right|LEFT|RIGHT)(?=wards?(?![a-z])|most(?![a-z])|-?hand|[^a-z]|$)"
)
_BOTH_SIDES = re.compile(r"(?i)(left|right)([\s_]*(?:/|&|,|[\s_](?:and|or))[\s_]*)(left|right)")


def mirrored_classes(classes: Sequence[str]) -> list[int | None]:
    """The class that each class becomes when its videos are flipped; None where it must not be flipped.

    A class whose name says left or right becomes the one whose name says the other side in every place. Where there is
    none, it must not be flipped, unless the name says both in no order ("left and right hands").

    >>> mirrored_classes(["pushing left to right", "pushing right to left", "turning left", "clapping"])
    [1, 0, None, 3]
    """
    names = [spaced(name) for name in classes]
    numbers = {_without_order(name): number for number, name in enumerate(names)}
    return [numbers.get(_without_order(_mirrored(name))) if _SIDE.search(name) else i for i, name in enumerate(names)]


def describe_flips(classes: Sequence[str]) -> str | None:
    """One line on the classes that a flip changes, or None where it changes none.

    >>> describe_flips(["pushing left to right", "pushing right to left", "turning left", "clapping"])
    '2 classes swap with their mirror image, 1 is never flipped: turning left'
    """
    partners = mirrored_classes(classes)
    num_swapped = sum(partner not in (None, number) for number, partner in enumerate(partners))
    never = [name for name, partner in zip(classes, partners, strict=True) if partner is None]
    parts = [f"{num_swapped} classes swap with their mirror image"] if num_swapped else []
    if never:
        parts.append(f"{len(never)} {'is' if len(never) == 1 else 'are'} never flipped: {shortened(never)}")
    return ", ".join(parts) or None


def why_not_mirrored(classes: Sequence[str]) -> str | None:
    """Why clips of these classes should not be flipped, by their names; None where nothing speaks against it.

    Left and right in a name do not: `mirrored_classes` knows what becomes of those.

    >>> why_not_mirrored(["turning clockwise", "turning counterclockwise"])
    'turning clockwise is another thing in a mirror'
    >>> why_not_mirrored(["A", "B", "C"])
    'the classes look like characters, such as A'
    """
    turned = next((name for name in classes if _HANDED.search(spaced(name))), None)
    if turned is not None:
        return f"{turned} is another thing in a mirror"
    if classes and all(len(name) == 1 for name in classes):
        return f"the classes look like characters, such as {classes[0]}"
    return None


# What a mirror changes beside left and right, as words of their own.
_HANDED = re.compile(
    r"(?i)(?<![a-z])(?:(?:counter|anti)?[\s_-]?clock[\s_-]?wise|c?cw|(?:east|west)(?:wards?)?)(?![a-z])"
)


def _mirrored(name: str) -> str:
    """The name with left for right and right for left, in their case."""
    return _SIDE.sub(lambda side: _OTHER[side[0]], name)


_OTHER = {"left": "right", "Left": "Right", "LEFT": "RIGHT"}
_OTHER |= {right: left for left, right in _OTHER.items()}


def _without_order(name: str) -> str:
    """The name with "left" first wherever it says both sides side by side: "right and left" is "left and right"."""
    return _BOTH_SIDES.sub(lambda both: both[0] if both[1].lower() == both[3].lower() else f"left{both[2]}right", name)
