"""Some of many, where looking at all would take too long."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def evenly_spaced(items: Sequence[Item], most: int) -> list[Item]:
    """So many at most, evenly spaced over all of them.

    >>> evenly_spaced(range(10), 4), evenly_spaced("abc", 4)
    ([0, 2, 5, 7], ['a', 'b', 'c'])
    """
    count = min(len(items), most)
    return [items[number * len(items) // count] for number in range(count)]
