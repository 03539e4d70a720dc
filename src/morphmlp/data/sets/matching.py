"""How the classes of data meet those of a checkpoint, of a label file or of another part: by name or by number.

Names match as they are, or in their plainer spelling: without brackets and underscores, and in one Unicode form (a Mac
writes `é` as two characters). Numbers match numbers by their value, in whatever order they stand: class folders `0` to
`10` are in the order 0, 1, 10, 2 of text.
"""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_NUMBER = re.compile("[0-9]{1,18}")
NEAR = 0.85  # how alike, of 1, names of which one may be a slip are: "runing" and "running" are 0.92
MOST_HINTS = 3


def composed(name: str) -> str:
    """The Unicode form NFC, in which names that look the same are the same.

    >>> composed("pe\\u0301tanque") == "p\\u00e9tanque"
    True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def are_numbers(names: Sequence[str]) -> bool:
    """Whether all names are class numbers, and no two of one value."""
    found = {_plain(name) for name in names if _NUMBER.fullmatch(name)}
    return 0 < len(names) == len(found)


def positions(classes: Sequence[str]) -> dict[str, int]:
    """The place of each name. A plainer spelling leads there too, unless it is another name or several share it."""
    shared = Counter(_plain(name) for name in classes)
    plain = {_plain(name): i for i, name in enumerate(classes) if shared[_plain(name)] == 1}
    return plain | {name: i for i, name in enumerate(classes)}


def find(name: str, position: dict[str, int]) -> int | None:
    """The place of a class by the names of `positions`; None where it has none."""
    return position.get(name, position.get(_plain(name)))


def _plain(name: str) -> str:
    """`riding_a_bike` and `Holding [something]` as other lists write them: `riding a bike`, `Holding something`.

    A number loses its leading zeros: `007` is `7`.
    """
    if _NUMBER.fullmatch(name):
        return name.lstrip("0") or "0"
    return composed(re.sub(r"[\s_]+", " ", re.sub(r"[\[\]]", "", name)).strip())


def near_name(name: str, others: Sequence[str]) -> str | None:
    """The one of other names that a name may be a slip of the keyboard for; None where none looks like it.

    Names that differ by a number are never near: `class 1` is meant where it is written.

    >>> near_name("runing", ["jumping", "running"]), near_name("class 1", ["class 2", "class 3"])
    ('running', None)
    """
    spelled = {_plain(other).casefold(): other for other in others if _digits(other) == _digits(name)}
    found = difflib.get_close_matches(_plain(name).casefold(), spelled, n=1, cutoff=NEAR)
    return spelled[found[0]] if found else None


def _digits(name: str) -> list[str]:
    return re.findall(r"\d+", name)


def meant(names: Sequence[str], others: Sequence[str]) -> str:
    """The end of a message on names that are not among others: what may have been meant; "" where nothing is near.

    >>> meant(["runing", "swim"], ["jumping", "running"])
    "; did you mean 'running' for 'runing'?"
    """
    pairs = [(near, name) for name in names if (near := near_name(name, others)) is not None]
    found = ", ".join(f"{near!r} for {name!r}" for near, name in pairs[:MOST_HINTS])
    return f"; did you mean {found}?" if found else ""


def places_of_numbers(numbers: Sequence[int], classes: Sequence[str], *, first: int) -> list[int | None]:
    """The place of the class that each number in the data stands for, None where there is none.

    Where the classes are numbers themselves it is the one of the same value; else the number counts them from `first`
    on. Data whose first class is said to be 1, beside classes that count from 0, is one ahead of them.

    >>> places_of_numbers([2, 10], ["0", "1", "10", "2"], first=0), places_of_numbers([2], ["a", "b", "c"], first=0)
    ([3, 2], [2])
    """
    if not are_numbers(classes):
        return [number - first if 0 <= number - first < len(classes) else None for number in numbers]
    position = positions(classes)
    ahead = 1 if first == 1 and "0" in position else 0
    return [position.get(str(number - ahead)) for number in numbers]


def described(numbers: Sequence[int], names: Sequence[str], *, limit: int = 10) -> str:
    """The classes that numbers were taken for: `0 = pouring tea, 1 = stirring and 172 more`."""
    pairs = [f"{number} = {name}" for number, name in zip(numbers, names, strict=True)]
    more = f" and {len(pairs) - limit} more" if len(pairs) > limit else ""
    return ", ".join(pairs[:limit]) + more
