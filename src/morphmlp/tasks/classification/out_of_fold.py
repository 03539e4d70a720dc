"""Predictions of folds: every sample of a data set, predicted by a model that has seen neither it nor its group.

Each fold's folder has the `predictions.csv` and `summary.json` of its own held-out samples, as `evaluate --out` writes
them. The folder above has a `predictions.csv` of all, whose first column is the fold: `read_out_of_fold` reads it.
"""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morphmlp.config import SplitConfig
from morphmlp.data.media.remote import RemoteFile, remote_file
from morphmlp.data.media.sources import Source, TarMember, part_of
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.background import NOTHING
from morphmlp.data.sets.labelled import LabelledSet
from morphmlp.data.sets.shards import SHARD_SUFFIX, members_of
from morphmlp.display.style import can_draw
from morphmlp.display.tables import class_tables, number_columns, table, text_columns
from morphmlp.errors import DataError
from morphmlp.files import read_text, replaced_file
from morphmlp.formatting import encodable, from_csv_text, percent
from morphmlp.inference.device import show_nothing
from morphmlp.system import relative_path
from morphmlp.tasks.classification.evaluation import Evaluation, SamplePrediction
from morphmlp.tasks.classification.report import (
    not_evaluated_lines,
    plot_confusion,
    summary,
    write_predictions,
    write_summary,
)
from morphmlp.tasks.classification.review.comparisons import as_compared, compared_over_folds
from morphmlp.tasks.task import Compared, fingerprint

if TYPE_CHECKING:
    from rich.console import RenderableType

SUMMARY, PREDICTIONS, CONFUSION = "summary.json", "predictions.csv", "confusion.png"
LAST_BEFORE_CLASSES = "probability"  # columns of all classes follow the first of this name
Members = Callable[[Path | RemoteFile], dict[Path, TarMember]]


@dataclass(frozen=True)
class _Table:
    """A csv file of predictions. What a row says by name, and the probabilities by place: a class may be named `label`.

    Attributes:
        columns: before those of the classes.
        classes: as cells.
        rows: a cell for each of the columns, and for each of the classes.
    """

    columns: list[str]
    classes: list[str]
    rows: list[tuple[dict[str, str], list[str]]]


@dataclass(frozen=True)
class OutOfFold:
    """The predictions of all folds together.

    Attributes:
        evaluation: all of them, as one evaluation; each was made by a model that did not learn from the sample's group.
        folds: the fold of each prediction, from 1.
    """

    evaluation: Evaluation
    folds: list[int]

    def of_fold(self, fold: int) -> Evaluation:
        """The predictions of one fold."""
        evaluation = self.evaluation
        chosen = [p for p, number in zip(evaluation.predictions, self.folds, strict=True) if number == fold]
        return Evaluation(evaluation.labels, chosen, unit=evaluation.unit)

    def scores(self) -> list[float]:
        """The accuracy of each fold."""
        return [self.of_fold(fold).accuracy() for fold in sorted(set(self.folds))]


def names_of(sets: tuple[LabelledSet, LabelledSet], data: str) -> str:
    """Tells whether two folds divide the same samples. Clips of background are left out: each fold draws its own."""
    classes = sets[0].classes
    return fingerprint(
        sorted(
            f"{relative_path(sample.path, data)}\t{part_of(sample.path)}\t{classes[sample.label]}"
            for part in sets
            for sample in part.samples
            if classes[sample.label] != NOTHING
        )
    )


def write_fold(evaluation: Evaluation, folder: Path) -> None:
    """Writes what a fold's model says of the fold; `predictions.csv`, the last, says that it is complete."""
    write_summary(evaluation, folder / SUMMARY)
    write_predictions(evaluation, folder / PREDICTIONS)


def is_written(folder: Path) -> bool:
    """Whether `write_fold` has come to its end."""
    return (folder / PREDICTIONS).is_file()


def join_folds(folders: Sequence[Path], out: Path, *, unit: str) -> OutOfFold:
    """Joins the predictions of all folds, in their order, into `predictions.csv` and one confusion matrix."""
    tables = [_read_rows(folder / PREDICTIONS) for folder in folders]
    columns = max((table.columns for table in tables), key=len)  # only the folds with stretches have some for them
    with replaced_file(out / PREDICTIONS) as file:
        writer = csv.writer(file)
        writer.writerow(["fold", *columns, *tables[0].classes])
        for fold, found in enumerate(tables, start=1):
            writer.writerows([fold, *(row.get(c, "") for c in columns), *values] for row, values in found.rows)
    joined = read_out_of_fold(out, unit=unit)
    broken = [row for folder in folders for row in _not_evaluated(folder / SUMMARY)]
    joined = replace(joined, evaluation=replace(joined.evaluation, broken=broken))
    if can_draw():
        plot_confusion(joined.evaluation, out / CONFUSION)
    return joined


def _not_evaluated(path: Path) -> list[tuple[Source, str]]:
    """The samples of a fold that could not be read, by its `summary.json`; none where that is gone."""
    try:
        return [(Path(row["path"]), str(row["reason"])) for row in json.loads(read_text(path))["not_evaluated"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def read_out_of_fold(folder: str | Path, *, unit: str = "videos") -> OutOfFold:
    """The out-of-fold predictions that `train --folds` left in its folder.

    The sources can be read as those of the set, members of tar shards too. A video as a part of a folder of frames is
    the whole folder, as the table has its path alone. What could not be read is in no row, and so in no prediction.

    Args:
        unit: what the samples are, "videos" or "images".

    Raises:
        DataError: the file is not there yet, or is no such table.

    Example:
        found = read_out_of_fold("runs/folds")
        for prediction, fold in zip(found.evaluation.predictions, found.folds):
            doubt = 1 - prediction.probabilities[prediction.label]
    """
    path = Path(folder) / PREDICTIONS
    found = _read_rows(path)
    try:
        labels = [from_csv_text(name) for name in found.classes]
        numbers = {name: number for number, name in enumerate(found.classes)}
        members = cache(members_of)  # each shard is looked through once
        predictions = [
            SamplePrediction(
                _source(row, members), numbers[row["label"]], np.array([*map(float, values)], dtype=np.float32)
            )
            for row, values in found.rows
        ]
        return OutOfFold(Evaluation(labels, predictions, unit=unit), [int(row["fold"]) for row, _ in found.rows])
    except (KeyError, ValueError) as error:
        raise _NotOutOfFold(path, error) from None


class _NotOutOfFold(DataError):
    def __init__(self, path: Path, error: Exception):
        super().__init__(f"{path} has no out-of-fold predictions ({error!r}); `morphmlp train --folds` writes them")


def _read_rows(path: Path) -> _Table:
    """A table of predictions."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            headings, *rows = csv.reader(file)
        width = headings.index(LAST_BEFORE_CLASSES) + 1
        cells = [list(zip(headings, row, strict=True)) for row in rows]
        found = [(dict(row[:width]), [value for _, value in row[width:]]) for row in cells]
        return _Table(headings[:width], headings[width:], found)
    except (ValueError, csv.Error) as error:
        raise _NotOutOfFold(path, error) from None
    except FileNotFoundError:
        raise DataError(f"{path} is not there: `morphmlp train --folds` writes it when all folds are done") from None


def _source(row: dict[str, str], members: Members) -> Source:
    file = _file(Path(row["path"]), members)
    if row.get("start") or row.get("end"):
        return Stretch(file, float(row["start"]), float(row["end"]))
    if row.get("start_frame") or row.get("end_frame"):
        return Stretch(file, float(row["start_frame"]), float(row["end_frame"]), "frames")
    return file


def _file(path: Path, members: Members) -> Path | TarMember | RemoteFile:
    """What a path names: a member of a shard, as if that were a folder, a file at an address, or a file here."""
    for parent in path.parents:
        if parent.suffix.lower() == SHARD_SUFFIX and (found := members(remote_file(parent) or parent).get(path)):
            return found
    return remote_file(path) or path


# What people and programs see


def figures(joined: OutOfFold) -> dict[str, Any]:
    """Mean and spread over the folds, and the figures over all predictions, as plain values."""
    scores = joined.scores()
    return {
        "metric": "top1",
        "mean": float(np.mean(scores)),
        "spread": _spread(scores),
        "scores": scores,
        "all": summary(joined.evaluation),
    }


def fold_tables(joined: OutOfFold) -> "list[RenderableType]":
    """The figures of each fold, their mean and standard deviation, and the classes over all folds."""
    from rich.text import Text

    evaluation, scores = joined.evaluation, joined.scores()
    folds = [joined.of_fold(fold) for fold in sorted(set(joined.folds))]
    rows = [_row(f"{number}", fold) for number, fold in enumerate(folds, start=1)]
    spread = [
        ("mean", "", percent(float(np.mean(scores))), ""),
        ("standard deviation", "", percent(_spread(scores)), ""),
    ]
    columns = [*text_columns("fold"), *number_columns(evaluation.unit, "top-1", "loss")]
    unread = not_evaluated_lines(evaluation)
    shown = {evaluation.unit: "samples", "recall": "recall", "precision": "precision"}
    return [
        table("Held-out folds", columns, rows, spread, [_row("all", evaluation)]),
        *([Text(encodable("\n".join(unread)))] if unread else []),
        *class_tables(evaluation.per_class(), shown, rank="recall", what=f"with {evaluation.unit}"),
    ]


def compare(
    joined: OutOfFold, *, split: SplitConfig, workers: int, progress: Callable[[int, int], None] = show_nothing
) -> Compared:
    """The models of the folds beside simple means that learned, for each fold, from the samples of the others.

    Args:
        split: says which samples are of one group.
        workers, progress: of the decoding.
    """
    found = compared_over_folds(joined.evaluation, joined.folds, split=split, workers=workers, progress=progress)
    return as_compared(found)


def _row(name: str, evaluation: Evaluation) -> tuple[str, str, str, str]:
    return name, f"{len(evaluation.predictions):,}", percent(evaluation.accuracy()), f"{evaluation.loss():.3f}"


def _spread(scores: Sequence[float]) -> float:
    """Standard deviation of the folds, as a sample of them."""
    return float(np.std(scores, ddof=1))
