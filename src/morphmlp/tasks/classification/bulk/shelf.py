"""The files of a shelf: named by folders, globs and lists, and opened one by one, so that there may be very many."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import overload

from morphmlp.data.media.remote import RemoteFile, remote_file
from morphmlp.data.media.sources import MediaKind, state_if_there
from morphmlp.data.sets.find import expand_sources
from morphmlp.data.sets.labelled import Sample
from morphmlp.errors import DataError

MOST_ASKED = 32  # hosts, at a time


class Shelf(Sequence[Sample]):
    """A sample for each name, made when it is asked for; a name that comes twice counts once.

    Attributes:
        numbers: the number of each name, from 0, by what the name is kept as, see `kept_name`.
    """

    def __init__(self, names: Iterable[str]):
        self.names: list[str] = []
        self.numbers: dict[str, int] = {}
        for name in names:
            if self.numbers.setdefault(kept_name(name), len(self.names)) == len(self.names):
                self.names.append(name)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return Sample(remote_file(self.names[index]) or Path(self.names[index]))


def kept_name(name: str) -> str:
    """What a file is written down as: an address without its secrets, with a digest that tells it from those alike."""
    remote = remote_file(name)
    return name if remote is None or str(remote) == name else repr(remote)


def states_of_names(names: Sequence[str]) -> list[tuple[int, int] | None]:
    """Two numbers for each file that change when it does; None where there is none. Hosts are asked at once."""
    if not any(map(remote_file, names)):
        return [_state_of_name(name) for name in names]
    with ThreadPoolExecutor(min(len(names), MOST_ASKED)) as pool:
        return list(pool.map(_state_of_name, names))


def _state_of_name(name: str) -> tuple[int, int] | None:
    return state_if_there(remote_file(name) or Path(name))


def names_of(patterns: Iterable[str], kind: MediaKind) -> Iterator[str]:
    """Files as they are, and what is in folders and what globs match, see `expand_sources`.

    Raises:
        DataError: a pattern without a file, or a folder without one of the kind.
    """
    for pattern in patterns:
        for source in expand_sources([pattern], kind):
            yield source.address if isinstance(source, RemoteFile) else str(source)


def lines_of(list_file: str) -> Iterator[str]:
    """The lines of a list of files, a path in each, without empty ones; "-" is standard input.

    Raises:
        DataError: it has no lines.
        OSError: it cannot be read.
    """
    empty = True
    with _opened(list_file) as lines:
        for line in lines:
            # Names of files need not be text; editors of Windows begin one with a mark of the encoding.
            path = line.decode("utf-8-sig", "surrogateescape").rstrip("\r\n")
            if path.strip():
                empty = False
                yield path
    if empty:
        raise DataError(f"--list {list_file} names no file; give a path in each line")


def _opened(list_file: str) -> AbstractContextManager[Iterable[bytes]]:
    return nullcontext(sys.stdin.buffer) if list_file == "-" else open(list_file, "rb")
