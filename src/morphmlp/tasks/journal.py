"""Rows that are known already, kept while a long work goes on: a file of JSON lines for each process, a line a batch.

A line is written as soon as its batch is known. It is there as a whole or not at all, so that what is computed together
is the same however often a run is killed. Rows are found again by the name of their sample, and hold only while the
sample has the state that it had: a list may grow, and files may change, between two runs.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from morphmlp.files import AppendedFile
from morphmlp.formatting import as_json
from morphmlp.output import tell

FILES = "rows-*.jsonl"
State: TypeAlias = tuple[int, int] | None


class Entry(NamedTuple):
    """A row of a sample.

    Attributes:
        name: of the sample.
        state: two numbers that change when its file does; None where there was no file.
        row: plain values; with an "error", the sample could not be read.
    """

    name: str
    state: State
    row: dict[str, Any]


class Place(NamedTuple):
    """Where a row is: the file, where its line begins there, and its number in the line."""

    file: Path
    offset: int
    number: int


class Journal:
    """The rows in a folder, of this run and of earlier ones; each process writes one file and may read all."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._read: dict[Path, int] = {}
        self._line: tuple[Path, int, list[Entry]] | None = None

    def writer(self, process: int) -> "JournalWriter":
        return JournalWriter(self.folder / FILES.replace("*", str(process)))

    def news(self) -> Iterator[tuple[Place, Entry]]:
        """The rows that were written since it was asked last, by any process."""
        for path in sorted(self.folder.glob(FILES)):
            start = self._read.get(path, 0)
            with open(path, "rb") as file:
                file.seek(start)
                for line in file:
                    if not line.endswith(b"\n"):  # it is being written, or its writer was killed
                        break
                    for number, entry in enumerate(_entries(line, path)):
                        yield Place(path, start, number), entry
                    start += len(line)
                    self._read[path] = start

    def entry(self, place: Place) -> Entry:
        """The row at a place; asked for one after the other, those of a line are read once."""
        if self._line is None or self._line[:2] != place[:2]:
            with open(place.file, "rb") as file:
                file.seek(place.offset)
                self._line = (place.file, place.offset, _entries(file.readline(), place.file))
        return self._line[2][place.number]


class JournalWriter:
    """Writes the lines of one process."""

    def __init__(self, path: Path):
        self._file = AppendedFile(path)

    def add(self, entries: Sequence[Entry]) -> None:
        """Takes the rows of a batch."""
        self._file.append(dumped(entries) + b"\n")

    def close(self) -> None:
        self._file.close()


def dumped(entries: Sequence[Entry]) -> bytes:
    """Rows as a line of JSON, which names that are no text survive."""
    return as_json([list(entry) for entry in entries]).encode("ascii")


def loaded(line: bytes | str) -> list[Entry]:
    """The rows that `dumped` made a line of.

    Raises:
        ValueError: it did not.
    """
    try:
        return [Entry(name, state and (state[0], state[1]), dict(row)) for name, state, row in json.loads(line)]
    except (TypeError, IndexError, KeyError) as error:
        raise ValueError(f"no rows ({error})") from None


def _entries(line: bytes, path: Path) -> list[Entry]:
    """The rows of a line; none of a damaged one, such as a power cut leaves: its samples are done again."""
    try:
        return loaded(line)
    except ValueError:
        tell(f"{path}: a line is damaged; what it was of is done again")
        return []
