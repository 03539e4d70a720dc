"""Predictions of very many files: a row is written as soon as it is known, and the same command goes on where it was.

Beside the file of the result, `results.csv`, is the folder `results.csv.parts`: what the rows depend on, and the rows
that are known (see `journal`). The result is made from it when a run begins, and grows with it. It stays, so that files
that are added to the shelf later are all that a later run looks at.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

from morphmlp.distributed import agreed, failing_together, is_main, process_group, rank
from morphmlp.errors import DataError
from morphmlp.files import require_replaceable
from morphmlp.inference.device import show_nothing
from morphmlp.tasks.classification.bulk.outputs import RowFile
from morphmlp.tasks.classification.bulk.shelf import Shelf
from morphmlp.tasks.classification.bulk.table import Table
from morphmlp.tasks.journal import FILES, Entry, Journal
from morphmlp.tasks.shared_work import WorkFolder, cut_in_batches, share_of

# Predicts the samples of each batch, by their numbers; the entries of a batch come together.
Compute = Callable[[Shelf, Sequence[Sequence[int]]], Iterator[list[Entry]]]


@dataclass(frozen=True)
class Predicted:
    """A shelf whose predictions are complete on the disk.

    Attributes:
        out: the file of rows.
        files: that were asked for, of which `known_before` were predicted by earlier runs.
        unreadable: of them, see the rows with an error; `errors` are the first.
        incomplete: videos that were cut off or damaged, predicted as far as they go.
        seconds: of this run.
    """

    out: str
    files: int
    known_before: int
    unreadable: int
    incomplete: int
    seconds: float
    errors: list[str]

    def as_values(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Share:
    """Part `number`, from 1, of `count` equal parts of the work, for machines that do not know of one another."""

    number: int = 1
    count: int = 1


def predict_shelf(
    names: Callable[[], Iterator[str]],
    file: RowFile,
    *,
    compute: Compute,
    batch_size: int,
    settings: dict[str, Any],
    share: Share | None = None,
    ordered: bool = False,
    fresh: bool = False,
    progress: Callable[[int, int], None] = show_nothing,
) -> Predicted:
    """Predicts the files of a shelf and writes a row of each.

    What an earlier run with the same settings has written is not done again, except where a file could not be read or
    has changed since. All processes of torchrun call it, share the work, and get the same result or the same error.

    Args:
        names: of the files; the main process asks for them.
        settings: plain values, all that the rows depend on beside the files.
        ordered: rows come in the order of the names; else as they are known.
        fresh: forget what earlier runs have written.

    Raises:
        DataError: earlier rows are of other settings, or the file is there but not what it was made from.
        OSError: the disk is full; what is written stays.
    """
    start_s, share = monotonic(), share or Share()
    work = WorkFolder(file.parts, settings, result=file.path, what="predictions", files=FILES)
    with process_group(), ExitStack() as stack:
        shelf = _agreed_shelf(names, file)
        batches = cut_in_batches(len(shelf), batch_size)[share.number - 1 :: share.count]
        journal, table, done = Journal(file.parts), None, set()
        with failing_together():
            if is_main():
                stack.enter_context(work.locked())
                _prepare(work, file, fresh=fresh)
                wanted = [number for batch in batches for number in batch]
                stack.callback(file.close)
                table = Table(file, shelf, journal, wanted, ordered=ordered, progress=progress)
                done = table.begin()
        done = agreed(done)
        take_news = table.take_news if table else _nothing
        with failing_together(meanwhile=take_news), closing(journal.writer(rank())) as writer:
            for entries in compute(shelf, share_of(batches, done=done)):
                writer.add(entries)
                take_news()
        result = None
        with failing_together():
            if table:
                table.finish(file.parts)
                result = _result(table, known_before=len(done), seconds=monotonic() - start_s)
        result = agreed(result)
    assert result is not None, "the main process has made it"
    return result


def _agreed_shelf(names: Callable[[], Iterator[str]], file: RowFile) -> Shelf:
    """The shelf as the main process finds it: for another one, a folder may have changed meanwhile."""
    listed: list[str] = []
    with failing_together():
        if is_main():
            require_replaceable(file.path)
            listed = Shelf(names()).names
    return Shelf(agreed(listed))


def _nothing() -> None:
    pass


def _prepare(work: WorkFolder, file: RowFile, *, fresh: bool) -> None:
    """Makes sure that the rows that are there are those of this work."""
    if fresh:
        work.clear()
    elif file.path.exists() and not any(work.folder.glob("*.json*")):
        raise DataError(
            f"{file.path} is there, but not {work.folder}, what it was made from; choose another --out, or --fresh to "
            "replace it"
        )
    work.begin()


def _result(table: Table, *, known_before: int, seconds: float) -> Predicted:
    return Predicted(
        out=str(table.file.path),
        files=len(table.wanted),
        known_before=known_before,
        unreadable=table.num_errors,
        incomplete=table.num_incomplete,
        seconds=round(seconds, 3),
        errors=table.errors,
    )
