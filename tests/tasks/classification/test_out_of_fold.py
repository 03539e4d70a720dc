"""Predictions of folds on the disk, and read back."""

from pathlib import Path

import numpy as np
import pytest

from morphmlp.data.media.stretches import Stretch
from morphmlp.errors import DataError
from morphmlp.tasks.classification.evaluation import Evaluation, SamplePrediction
from morphmlp.tasks.classification.out_of_fold import figures, is_written, join_folds, read_out_of_fold, write_fold

LABELS = ["=up", "down"]


def fold(folder: Path, *predictions: tuple[object, int, float], labels: list[str] = LABELS) -> Path:
    """The folder of a fold with these sources, labels and probabilities of the first class."""
    folder.mkdir()
    made = [SamplePrediction(s, label, np.array([p, 1 - p], np.float32)) for s, label, p in predictions]  # type: ignore[arg-type]
    assert not is_written(folder)
    write_fold(Evaluation(labels, made), folder)
    assert is_written(folder)
    return folder


@pytest.fixture
def folds(tmp_path: Path) -> list[Path]:
    seconds, frames = Stretch(Path("b.mp4"), 1.5, 4), Stretch(Path("b.mp4"), 30, 60, "frames")
    return [
        fold(tmp_path / "fold_1", (Path("a.mp4"), 0, 0.75), (Path("=c.mp4"), 1, 0.75)),
        fold(tmp_path / "fold_2", (seconds, 1, 0.25), (frames, 0, 0.875)),
    ]


def test_all_folds_are_read_back_as_they_were_written(folds: list[Path], tmp_path: Path):
    joined = join_folds(folds, tmp_path, unit="videos")
    found = read_out_of_fold(tmp_path)
    assert found.folds == joined.folds == [1, 1, 2, 2]
    assert found.evaluation.labels == LABELS
    assert [str(p.path) for p in found.evaluation.predictions] == [
        "a.mp4",
        "=c.mp4",
        "b.mp4 (1.5 to 4 s)",
        "b.mp4 (frames 30 to 59)",
    ]
    assert [p.label for p in found.evaluation.predictions] == [0, 1, 1, 0]
    assert [p.probabilities.tolist() for p in found.of_fold(2).predictions] == [[0.25, 0.75], [0.875, 0.125]]
    assert found.evaluation.confusion().tolist() == [[2, 0], [1, 1]]


def test_the_spread_is_the_standard_deviation_of_the_folds(folds: list[Path], tmp_path: Path):
    found = figures(join_folds(folds, tmp_path, unit="videos"))
    assert found["scores"] == [0.5, 1.0]
    assert found["mean"] == 0.75
    assert found["spread"] == pytest.approx(np.sqrt(0.125))
    assert found["all"]["top1"] == 0.75


def test_a_table_without_folds_is_refused(folds: list[Path]):
    with pytest.raises(DataError, match=r"fold_1/predictions\.csv has no out-of-fold predictions"):
        read_out_of_fold(folds[0])


@pytest.mark.parametrize("labels", [["label", "path"], ["probability", "fold"], ["start", "end"]])
def test_a_class_may_have_the_name_of_a_column(tmp_path: Path, labels: list[str]):
    folders = [
        fold(tmp_path / "fold_1", (Path("a.mp4"), 0, 0.75), labels=labels),
        fold(tmp_path / "fold_2", (Stretch(Path("b.mp4"), 1.5, 4), 1, 0.25), labels=labels),
    ]
    found = join_folds(folders, tmp_path, unit="videos")
    assert found.evaluation.labels == labels
    assert [str(p.path) for p in found.evaluation.predictions] == ["a.mp4", "b.mp4 (1.5 to 4 s)"]
    assert [p.probabilities.tolist() for p in found.evaluation.predictions] == [[0.75, 0.25], [0.25, 0.75]]


def test_a_row_that_is_cut_off_is_refused(folds: list[Path], tmp_path: Path):
    join_folds(folds, tmp_path, unit="videos")
    table = tmp_path / "predictions.csv"
    table.write_text(table.read_text()[:-12])
    with pytest.raises(DataError, match=r"predictions\.csv has no out-of-fold predictions"):
        read_out_of_fold(tmp_path)
