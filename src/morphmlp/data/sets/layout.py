"""What a layout is: one way of keeping labelled videos or images on disk. `read.LAYOUTS` is the table of them.

To add one, write a file with a class such as this and put it into the table:

    class Zips(Layout[Path]):
        def find(self, place: Place) -> Path | None:
            path = place.root if place.split is None else place.root / f"{place.split}.zip"
            return path if path.suffix == ".zip" and path.is_file() else None

        def read(self, found: Path, place: Place) -> LabelledSet:
            return labelled_set([WrittenSample(...), ...], origin=found, names=None, training=place.training)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

from morphmlp.config import ListConfig
from morphmlp.data.sets.labelled import LabelledSet

Found = TypeVar("Found")


@dataclass(frozen=True)
class Place:
    """Where a set is looked for: in all of `root`, a file or a folder; or in one split of that folder.

    Attributes:
        split: "train", "val" or "test"; None is all of `root`.
        training: the labels should use every class (see `written.labelled_set`).
    """

    root: Path
    split: str | None
    lists: ListConfig
    training: bool = False


class Layout(Protocol[Found]):
    """Finds a set that is kept in its way, and reads it.

    Attributes:
        may_leave_out: the set is a choice among the files that lie in the folder.
    """

    may_leave_out: ClassVar[bool] = False

    def find(self, place: Place) -> Found | None:
        """What `read` is to read; None where the place holds no set of this layout. No video or image is opened.

        Raises:
            DataError: there is one, but it cannot be told which, or it cannot be read.
        """
        ...

    def read(self, found: Found, place: Place) -> LabelledSet:
        """The set that was found.

        Raises:
            DataError: it cannot be used.
        """
        ...
