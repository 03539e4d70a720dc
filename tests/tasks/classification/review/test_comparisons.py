"""A model beside simple means: the same samples, the same draws, and plain words where it has not beaten them."""

from pathlib import Path

import numpy as np
import pytest
import tiny

from morphmlp.config import SplitConfig
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.read import read_training_sets
from morphmlp.tasks.classification.evaluation import Evaluation, SamplePrediction
from morphmlp.tasks.classification.review import comparisons
from morphmlp.tasks.classification.review.comparisons import (
    as_values,
    compared,
    compared_over_folds,
    comparison_lines,
    sample_groups,
    three_comparisons,
)
from morphmlp.tasks.classification.thumbnails import read_thumbnails


def answers(samples: list[Sample], labels: list[str], *, right: int) -> Evaluation:
    """An evaluation that is right on the first samples."""
    rows = []
    for number, sample in enumerate(samples):
        winner = sample.label if number < right else (sample.label + 1) % len(labels)
        rows.append(SamplePrediction(sample.path, sample.label, np.eye(len(labels))[winner]))
    return Evaluation(labels, rows)


def named(*labels: int) -> list[Sample]:
    return [Sample(Path(f"{number}.mp4"), label) for number, label in enumerate(labels)]


def test_always_the_commonest_class_of_the_training_is_a_baseline():
    train = LabelledSet(named(1, 1, 0), ["a", "b"])
    evaluation = answers(named(*[1] * 30, *[0] * 70), ["a", "b"], right=90)
    found = compared(evaluation, train, None, split=SplitConfig())
    [commonest] = found.baselines
    assert (commonest.how, commonest.accuracy, commonest.lead) == ("b", 0.3, pytest.approx(0.6))
    assert commonest.side == 1
    assert found.not_beaten == []
    assert comparison_lines(found)[-1] == "The model is better than the commonest class."


@pytest.mark.parametrize(("right", "words"), [(5, "is worse than"), (32, "is not told apart from")])
def test_a_model_that_has_not_beaten_it_is_told_so(right: int, words: str):
    train = LabelledSet(named(1, 1, 0), ["a", "b"])
    evaluation = answers(named(*[0] * 70, *[1] * 30), ["a", "b"], right=right)
    found = compared(evaluation, train, None, split=SplitConfig())
    assert f"The model {words} the commonest class: its lead is " in comparison_lines(found)[-1]
    assert as_values(found)["not_beaten"] == ["the commonest class"]


@pytest.mark.parametrize(("number", "words"), [(5, "is not told apart from"), (6, "is worse than")])
def test_a_handful_of_videos_tells_nothing_apart(number: int, words: str):
    evaluation = answers(named(*[0] * number), ["a", "b"], right=0)
    found = compared(evaluation, LabelledSet(named(0, 0, 1), ["a", "b"]), None, split=SplitConfig())
    assert comparison_lines(found)[-1].startswith(f"The model {words} the commonest class: its lead is -100.0 points")


def test_of_one_group_nothing_is_told_apart():
    train = LabelledSet(named(1, 1, 0), ["a", "b"])
    evaluation = answers(named(0, 0, 0), ["a", "b"], right=3)
    found = compared(evaluation, train, None, split=SplitConfig(group_pattern="mp4"))
    assert found.num_groups == 1
    assert found.model.interval is None
    assert found.not_beaten == list(found.baselines)


def test_names_that_do_not_fit_the_training_s_pattern_are_groups_of_their_own():
    assert len(set(sample_groups(named(0, 0, 0), SplitConfig(group_pattern="^speaker")))) == 3


def test_thumbnails_are_the_whole_frame_and_a_broken_file_is_left_out(tmp_path: Path):
    from PIL import Image

    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32], pixels[:, 48:, 1] = 255, 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image")
    samples = [Sample(tmp_path / name, 0) for name in ("b.png", "a.png")]
    done: list[tuple[int, int]] = []
    found = read_thumbnails(samples, "image", workers=0, progress=lambda *counts: done.append(counts))
    assert found.indices.tolist() == [1]
    assert found.pixels.shape == (1, 1, 16, 16, 3)
    corners = found.pixels[0, 0][[0, 0, 15, 15], [0, 15, 0, 15]]
    assert corners == pytest.approx(np.array([[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 1, 0]]), abs=0.02)
    assert done[-1] == (2, 2)


def test_shrunk_pixels_are_learned_from_the_training_part(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A copy of each training video is to be predicted: nothing is easier for shrunk pixels."""
    monkeypatch.setattr(comparisons, "MOST_COMPARED", 8)
    train, _ = read_training_sets(tiny.copy_data(data, tmp_path / "set", classes=4))
    evaluation = answers(train.samples[::-1], list(train.classes), right=4)
    found = three_comparisons(evaluation, train, split=SplitConfig(), workers=0)
    assert [row.name for row in found.baselines] == ["the commonest class", "shrunk pixels"]
    assert found.baselines[1].accuracy == 1.0
    assert (found.num_samples, found.num_training, found.num_groups) == (8, 8, 8)
    assert found.model.accuracy == 0.5
    assert [row.name for row in found.not_beaten] == ["the commonest class", "shrunk pixels"]
    assert found.baselines[1].side == -1


def test_over_folds_the_simple_means_learn_from_the_other_folds_alone(data: Path, tmp_path: Path):
    train, _ = read_training_sets(tiny.copy_data(data, tmp_path / "set", classes=4))
    evaluation = answers([*train.samples, *train.samples], list(train.classes), right=12)
    found = compared_over_folds(evaluation, [1] * 8 + [2] * 8, split=SplitConfig(), workers=0)  # a copy is elsewhere
    assert [row.accuracy for row in found.baselines] == [0.25, 1.0]
    assert (found.model.accuracy, found.num_samples, found.num_training, found.num_groups) == (0.75, 16, 16, 8)
    folds = [1 + sample.label // 2 for sample in evaluation.predictions]  # no class is in two folds
    found = compared_over_folds(evaluation, folds, split=SplitConfig(), workers=0)
    assert [row.accuracy for row in found.baselines] == [0.0, 0.0]
    assert found.baselines[1].how == "8 frames of 16 x 16 px, of the other folds"


def test_over_folds_whose_files_are_gone_the_commonest_class_is_left():
    evaluation = answers(named(0, 0, 0, 1, 1, 0), ["a", "b"], right=3)
    found = compared_over_folds(evaluation, [1, 1, 1, 2, 2, 2], split=SplitConfig(), workers=0)
    assert [(row.name, row.accuracy) for row in found.baselines] == [("the commonest class", pytest.approx(1 / 6))]
    assert (found.num_samples, found.num_training) == (6, None)
    assert comparison_lines(found)[-1] == "no part can be read as shrunk pixels"


def test_what_was_left_out_is_said(data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(comparisons, "MOST_COMPARED", 4)
    monkeypatch.setattr(comparisons, "MOST_TRAINING", 10)
    train, val = read_training_sets(data)
    evaluation = answers(val.samples, list(train.classes), right=4)
    found = three_comparisons(evaluation, train, split=SplitConfig(), workers=0)
    assert found.note == ("4 of 10 videos were compared; the pixels were learned from 10 of 20 training videos")
    assert comparison_lines(found)[-1] == found.note
