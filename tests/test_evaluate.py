"""Evaluation: the published protocol is what one would do by hand, and every video is accounted for."""

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from conftest import save_tiny

import morphmlp.evaluate as evaluation
import morphmlp.train as training
from morphmlp.checkpoints import load, load_config
from morphmlp.config import SplitConfig
from morphmlp.data.datasets import Sample, read_set, read_training_sets
from morphmlp.data.decode import probe, read_frames
from morphmlp.data.loaders import TestClips
from morphmlp.data.sampling import sparse_indices
from morphmlp.data.synthetic import CLASSES
from morphmlp.data.transforms import eval_views as crops_of
from morphmlp.errors import ConfigError, DataError
from morphmlp.evaluate import evaluate_checkpoint


@pytest.fixture(scope="module")
def evaluated(checkpoint: Path, data: Path) -> evaluation.Evaluation:
    return evaluate_checkpoint(checkpoint, data, workers=0)


def probabilities_by_hand(checkpoint: Path, video: Path, *, clips: int, crops: int, aggregation: str) -> torch.Tensor:
    """One view after the other through the model, then joined."""
    model, (_, info) = load(checkpoint), load_config(checkpoint)
    logits = []
    for clip in range(clips):
        indices = sparse_indices(probe(video).num_frames, frames=4, clip=clip, num_clips=clips)
        views = crops_of(read_frames(video, indices), info.input, num_crops=crops)
        logits += [model(view[None])[0].detach() for view in views]
    if aggregation == "logits":
        return torch.softmax(sum(logits) / len(logits), dim=0)
    return sum(torch.softmax(view, dim=0) for view in logits) / len(logits)


@pytest.mark.parametrize(
    ("clips", "crops", "aggregation"), [(1, 1, "logits"), (3, 3, "logits"), (2, 3, "probabilities")]
)
def test_several_views_are_joined_as_one_would_by_hand(
    clips: int, crops: int, aggregation: str, checkpoint: Path, data: Path
):
    result = evaluate_checkpoint(checkpoint, data, num_clips=clips, num_crops=crops, aggregation=aggregation, workers=0)
    assert len(result.predictions) == 10
    for prediction in result.predictions[::4]:
        expected = probabilities_by_hand(checkpoint, prediction.path, clips=clips, crops=crops, aggregation=aggregation)
        np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-5)


def test_every_video_is_predicted_once_under_its_own_label(evaluated: evaluation.Evaluation, data: Path):
    assert sorted(prediction.path for prediction in evaluated.predictions) == sorted(data.glob("val/*/*.mp4"))
    for prediction in evaluated.predictions:
        assert evaluated.labels[prediction.label] == prediction.path.parent.name
        assert prediction.probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize("views_per_batch", [1, 5, 64])
def test_batches_of_views_do_not_change_the_results(
    views_per_batch: int,
    evaluated: evaluation.Evaluation,
    checkpoint: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(evaluation, "VIEWS_PER_BATCH", views_per_batch)
    again = evaluate_checkpoint(checkpoint, data, workers=0)
    for one, other in zip(evaluated.predictions, again.predictions, strict=True):
        assert one.path == other.path
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_workers_do_not_change_the_results(evaluated: evaluation.Evaluation, checkpoint: Path, data: Path):
    again = evaluate_checkpoint(checkpoint, data, workers=2)
    for one, other in zip(evaluated.predictions, again.predictions, strict=True):
        assert one.path == other.path
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_shuffled_frames_are_the_same_frames_in_another_order(checkpoint: Path, data: Path):
    config = load_config(checkpoint)[1].input
    samples = [Sample(path, 0) for path in sorted(data.glob("val/*/*.mp4"))]
    in_order, shuffled = (TestClips(samples, 4, config, shuffle_frames=flag) for flag in (False, True))
    moved = 0
    for i in range(len(samples)):
        left, right = in_order[i].clips[0], shuffled[i].clips[0]  # [3, T, h, w]
        order = [next(s for s in range(4) if torch.equal(right[:, t], left[:, s])) for t in range(4)]
        assert sorted(order) == [0, 1, 2, 3]
        moved += order != [0, 1, 2, 3]
        assert torch.equal(shuffled[i].clips, shuffled[i].clips)
    assert moved > 5


def test_validation_part_is_evaluated_unless_another_is_named(checkpoint: Path, data: Path):
    assert len(evaluate_checkpoint(checkpoint, data, split="train", workers=0).predictions) == 20
    assert len(evaluate_checkpoint(checkpoint, data / "val", workers=0).predictions) == 10


def test_broken_videos_stand_apart_with_their_reasons(checkpoint: Path, data: Path, tmp_path: Path):
    videos = tiny.copy_data(data, tmp_path / "videos", classes=3)
    broken = sorted((videos / "val").rglob("*.mp4"))[1]
    broken.write_text("no video")
    calls = []
    result = evaluate_checkpoint(checkpoint, videos, workers=0, progress=lambda *counts: calls.append(counts))
    assert [path for path, _ in result.broken] == [broken]
    assert len(result.predictions) == 2
    assert calls == [(1, 3), (2, 3), (3, 3)]
    summary = evaluation.summary(result)
    assert (summary["evaluated"], summary["videos"]) == (2, 3)
    assert summary["not_evaluated"][0]["path"] == str(broken)
    assert summary["not_evaluated"][0]["reason"]


def test_not_one_readable_video_is_an_error(checkpoint: Path, data: Path, tmp_path: Path):
    videos = tiny.copy_data(data, tmp_path / "videos", classes=2)
    for path in (videos / "val").rglob("*.mp4"):
        path.write_text("no video")
    with pytest.raises(DataError, match=r"none of the 2 videos can be read; .*mp4"):
        evaluate_checkpoint(checkpoint, videos, workers=0)


def test_labels_are_matched_by_name(evaluated: evaluation.Evaluation, checkpoint: Path, data: Path, tmp_path: Path):
    """The checkpoint's classes are not in alphabetical order, and the folder has three of the ten."""
    videos = tiny.copy_data(data, tmp_path / "videos", classes=3)
    subset = evaluate_checkpoint(checkpoint, videos, workers=0)
    assert subset.labels == evaluated.labels == list(CLASSES)
    whole = {prediction.path.name: prediction for prediction in evaluated.predictions}
    for prediction in subset.predictions:
        assert CLASSES[prediction.label] == prediction.path.parent.name
        assert prediction.label == whole[prediction.path.name].label
        np.testing.assert_allclose(prediction.probabilities, whole[prediction.path.name].probabilities, atol=1e-5)


def test_class_unknown_to_the_checkpoint_is_an_error_that_lists_both_sides(
    checkpoint: Path, data: Path, tmp_path: Path
):
    videos = tiny.copy_data(data, tmp_path / "videos", classes=2)
    (videos / "val" / "approaching_the_camera").rename(videos / "val" / "sleeping")
    with pytest.raises(DataError, match=r"1 of 2 classes .* sleeping; .* has: moving_left_to_right, ") as caught:
        evaluate_checkpoint(checkpoint, videos, workers=0)
    assert str(checkpoint) in str(caught.value)


def test_checkpoint_without_names_takes_a_set_of_as_many_classes_only(data: Path, tmp_path: Path):
    from morphmlp.checkpoints import save

    for num_classes in (10, 7):
        named = save_tiny(tmp_path / f"named_{num_classes}", labels=[str(i) for i in range(num_classes)])
        info = load_config(named)[1]
        save(load(named), tmp_path / f"unnamed_{num_classes}", replace(info, labels=[]))
    assert len(evaluate_checkpoint(tmp_path / "unnamed_10", data, workers=0).predictions) == 10
    with pytest.raises(DataError, match=r"has 10 classes, but .* has 7 outputs and no class names"):
        evaluate_checkpoint(tmp_path / "unnamed_7", data, workers=0)


def test_image_checkpoint_is_refused(image_checkpoint: Path, data: Path):
    with pytest.raises(DataError, match=r"holds videos, but .* is a model of images \(tiny\); give a folder of images"):
        evaluate_checkpoint(image_checkpoint, data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_crops": 2}, "num_crops is 2; allowed: 1 or 3"),
        ({"num_clips": 0}, "num_clips is 0; allowed: 1 or more"),
        ({"aggregation": "max"}, "aggregation is 'max'; allowed: 'logits', 'probabilities'"),
        ({"precision": "half"}, "precision is 'half'; allowed: fp32, bf16, fp16"),
    ],
)
def test_protocol_that_does_not_exist_is_refused(options: dict, message: str, checkpoint: Path, data: Path):
    with pytest.raises(ConfigError, match=message):
        evaluate_checkpoint(checkpoint, data, workers=0, **options)


def test_device_that_is_not_there_is_refused(checkpoint: Path, data: Path):
    with pytest.raises(DataError, match="device 'nonsense' cannot be used here; allowed: auto, cpu, or cuda"):
        evaluate_checkpoint(checkpoint, data, workers=0, device="nonsense")


def test_written_csv_holds_the_predictions(evaluated: evaluation.Evaluation, tmp_path: Path):
    evaluation.write_predictions(evaluated, tmp_path / "predictions.csv")
    with open(tmp_path / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    for row, prediction in zip(rows, evaluated.predictions, strict=True):
        assert row["path"] == str(prediction.path)
        assert row["label"] == evaluated.labels[prediction.label]
        assert row["predicted"] == evaluated.labels[prediction.predicted]
        assert float(row["probability"]) == pytest.approx(prediction.probabilities.max(), abs=1e-6)
        values = [float(row[name]) for name in evaluated.labels]
        np.testing.assert_allclose(values, prediction.probabilities, atol=1e-6)


def test_written_json_holds_the_figures(evaluated: evaluation.Evaluation, tmp_path: Path):
    evaluation.write_summary(evaluated, tmp_path / "summary.json")
    figures = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert figures == evaluation.summary(evaluated)
    hits = [prediction.predicted == prediction.label for prediction in evaluated.predictions]
    assert figures["top1"] == sum(hits) / 10
    likelihoods = [prediction.probabilities[prediction.label] for prediction in evaluated.predictions]
    assert figures["loss"] == pytest.approx(-sum(math.log(value) for value in likelihoods) / 10)


def test_model_is_left_in_the_mode_it_was_in(checkpoint: Path, data: Path):
    model = load(checkpoint).train()
    videos = read_set(data, split="val")
    dataset = TestClips(videos.samples, 4, load_config(checkpoint)[1].input)
    evaluation.evaluate(model, evaluation.make_test_loader(dataset, workers=0), videos)
    assert model.training


def test_a_folder_split_in_training_is_evaluated_on_what_was_held_out(data: Path, tmp_path: Path):
    videos = tmp_path / "videos"
    shutil.copytree(data / "train", videos)
    config = replace(tiny.run_config(videos, epochs=1), split=SplitConfig(val_fraction=0.5, seed=3))
    best = training.train(config, tmp_path / "run").best
    _, held_out = read_training_sets(videos, config.split)
    for split, expected in ((None, held_out.samples), ("val", held_out.samples)):
        result = evaluate_checkpoint(best, videos, split=split, workers=0)
        assert [p.path for p in result.predictions] == [sample.path for sample in expected]
    assert len(evaluate_checkpoint(best, videos, split="train", workers=0).predictions) == 10
    assert len(evaluate_checkpoint(best, videos, split="all", workers=0).predictions) == 20
    shutil.copytree(videos, tmp_path / "other")
    assert len(evaluate_checkpoint(best, tmp_path / "other", workers=0).predictions) == 20
