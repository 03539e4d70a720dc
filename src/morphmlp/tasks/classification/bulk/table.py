"""The table of a shelf while it grows: rows of all processes, as their journals tell them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from morphmlp.errors import DataError
from morphmlp.tasks.classification.bulk.outputs import Row, RowFile
from morphmlp.tasks.classification.bulk.shelf import Shelf, states_of_names
from morphmlp.tasks.journal import Journal, Place, State

MOST_NAMED = 10  # broken files on the terminal; all are in the table


class Table:
    """What the main process knows of the samples, and shows in the file of the result.

    Args:
        wanted: the numbers of the samples, in their order.
        ordered: rows are shown in that order, also while they come; else as they are known.

    Attributes:
        places: where the rows of the samples are that are known.
        errors: the first messages of this run, and `num_errors` of all.
    """

    def __init__(
        self,
        file: RowFile,
        shelf: Shelf,
        journal: Journal,
        wanted: Sequence[int],
        *,
        ordered: bool,
        progress: Callable[[int, int], None],
    ):
        self.file, self.shelf, self.journal, self.wanted = file, shelf, journal, wanted
        self.ordered, self.progress = ordered, progress
        self.places: dict[int, Place] = {}
        self.errors: list[str] = []
        self.num_errors = self.num_incomplete = self._num_shown = 0

    def begin(self) -> set[int]:
        """Shows what earlier runs knew; returns the numbers of those samples.

        Of several rows of a sample the last one counts. One that could not be read, or whose file has changed, is
        looked at again.
        """
        found: dict[int, tuple[Place, State]] = {}
        for place, entry in self.journal.news():
            number = self.shelf.numbers.get(entry.name)
            if number is None:
                continue
            found.pop(number, None)
            if "error" not in entry.row:
                found[number] = place, entry.state
        states = states_of_names([self.shelf.names[number] for number in found])
        for (number, (place, then)), now in zip(found.items(), states, strict=True):
            if now is not None and now == then:
                self.places[number] = place
        known = [number for number in self.wanted if number in self.places]
        self.places = {number: self.places[number] for number in known}
        if self.ordered:
            known = self._next_in_order()
        self.file.begin(self._count(row) for row in self._rows(known))
        self._num_shown = len(known)
        self.progress(len(self.places), len(self.wanted))
        return set(self.places)

    def take_news(self) -> None:
        """Shows the rows that any process has written since."""
        for place, entry in self.journal.news():
            number = self.shelf.numbers.get(entry.name)
            if number is None or number in self.places:
                continue
            self.places[number] = place
            if not self.ordered:
                self.file.append(self._count(entry.row))
        if self.ordered:
            known = self._next_in_order()
            for row in self._rows(known):
                self.file.append(self._count(row))
            self._num_shown += len(known)
        self.progress(len(self.places), len(self.wanted))

    def finish(self, folder: Path) -> None:
        """Makes the file complete.

        Raises:
            DataError: the rows of another process are not there.
        """
        self.take_news()
        if missing := len(self.wanted) - len(self.places):
            raise DataError(
                f"{folder} lacks the rows of {missing} files: --out must be on a disk that all processes share"
            )
        self.file.finish(self._rows(self.wanted))

    def _next_in_order(self) -> list[int]:
        """The samples that are known, and all before them, but are not shown yet."""
        known = []
        for position in range(self._num_shown, len(self.wanted)):
            if self.wanted[position] not in self.places:
                break
            known.append(self.wanted[position])
        return known

    def _rows(self, numbers: Sequence[int]) -> Iterator[Row]:
        return (self.journal.entry(self.places[number]).row for number in numbers)

    def _count(self, row: Row) -> Row:
        if "error" in row:
            self.num_errors += 1
            if len(self.errors) < MOST_NAMED:
                self.errors.append(f"{row['path']}: {row['error']}")
        self.num_incomplete += "incomplete" in row
        return row
