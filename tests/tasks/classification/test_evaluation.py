"""Evaluation: the published protocol is what one would do by hand, and every video is accounted for."""

import csv
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import fresh
import numpy as np
import pytest
import tiny
import torch
from conftest import save_tiny
from hypothesis import given
from hypothesis import strategies as st

import morphmlp.tasks.classification.evaluation as evaluation
import morphmlp.training.run as training
from morphmlp import distributed
from morphmlp.checkpoints.folder import load, load_config, load_with_info, save
from morphmlp.config import ListConfig, SplitConfig
from morphmlp.data.batches.loaders import TestClips
from morphmlp.data.clips.sampling import sparse_indices
from morphmlp.data.clips.views import eval_views as crops_of
from morphmlp.data.media.video import probe, read_frames
from morphmlp.data.sets.labelled import Sample
from morphmlp.data.sets.read import read_set, read_training_sets
from morphmlp.demo.synthetic import CLASSES
from morphmlp.errors import ConfigError, DataError
from morphmlp.formatting import percent
from morphmlp.inference.device import Execution
from morphmlp.inference.optimize import InferenceModel, for_inference
from morphmlp.tasks.classification.evaluation import SamplePrediction
from morphmlp.tasks.classification.prediction import make_test_loader
from morphmlp.tasks.classification.report import evaluation_tables, summary, write_predictions, write_summary


@pytest.fixture(scope="module")
def evaluated(checkpoint: Path, data: Path) -> evaluation.Evaluation:
    return tiny.evaluate_checkpoint(checkpoint, data, workers=0)


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
    result = tiny.evaluate_checkpoint(
        checkpoint, data, num_clips=clips, num_crops=crops, aggregation=aggregation, workers=0
    )
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
    monkeypatch.setattr("morphmlp.tasks.classification.prediction.VIEWS_PER_BATCH", views_per_batch)
    again = tiny.evaluate_checkpoint(checkpoint, data, workers=0)
    for one, other in zip(evaluated.predictions, again.predictions, strict=True):
        assert one.path == other.path
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_single_views_are_ranked_on_their_own(checkpoint: Path, data: Path):
    """Three clips with three crops: nine ranks for each video, in the order of the views."""
    result = tiny.evaluate_checkpoint(checkpoint, data, num_clips=3, num_crops=3, workers=0)
    hits = []
    for prediction in result.predictions:
        model, (_, info) = load(checkpoint), load_config(checkpoint)
        ranks = []
        for clip in range(3):
            indices = sparse_indices(probe(prediction.path).num_frames, frames=4, clip=clip, num_clips=3)
            for view in crops_of(read_frames(prediction.path, indices), info.input, num_crops=3):
                order = model(view[None])[0].argsort(descending=True).tolist()
                ranks.append(order.index(prediction.label))
        assert prediction.view_ranks is not None
        assert prediction.view_ranks.tolist() == ranks
        hits += [rank == 0 for rank in ranks]
    assert result.num_views == 9
    assert result.view_accuracy() == np.mean(hits)


def test_of_one_view_both_accuracies_are_the_same(evaluated: evaluation.Evaluation):
    for k in (1, 2, 5, 10):
        assert evaluated.view_accuracy(k) == evaluated.accuracy(k)
    assert evaluated.num_views == 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_rank_of_a_label_is_its_place_among_the_most_probable(seed: int, levels: int):
    """Few levels, so that many values are equal."""
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, levels, (3, 6)) / 4
    for label in range(6):
        ranks = evaluation.label_ranks(rows, label)
        for row, rank in zip(rows, ranks, strict=True):
            assert SamplePrediction(Path("v.mp4"), label, row).top(6).index(label) == rank


@pytest.mark.parametrize(("num_samples", "views", "num_processes"), [(10, 1, 2), (70, 3, 2), (3, 1, 4), (65, 30, 3)])
def test_processes_share_the_batches_of_a_single_one(num_samples: int, views: int, num_processes: int):
    config = replace(tiny.INPUT, num_clips=views)
    dataset = TestClips([Sample(Path(f"{i}.mp4"), 0) for i in range(num_samples)], 4, config)

    def batches(**share: int) -> list[list[int]]:
        return list(make_test_loader(dataset, workers=0, **share).batch_sampler)  # type: ignore[arg-type]

    whole = batches()
    assert [index for batch in whole for index in batch] == list(range(num_samples))
    shares = [batches(rank=rank, num_processes=num_processes) for rank in range(num_processes)]
    assert sorted(batch for share in shares for batch in share) == whole
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_share_alone_is_no_evaluation(checkpoint: Path, data: Path):
    videos = read_set(data, split="val")
    dataset = TestClips(videos.samples, 4, load_config(checkpoint)[1].input)
    loader = make_test_loader(dataset, workers=0, rank=1, num_processes=2)
    with pytest.raises(AssertionError, match="a sample is missing, or counts twice"):
        evaluation.evaluate(load(checkpoint), loader, videos)


def test_workers_do_not_change_the_results(evaluated: evaluation.Evaluation, checkpoint: Path, data: Path):
    again = tiny.evaluate_checkpoint(checkpoint, data, workers=2)
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
    assert len(tiny.evaluate_checkpoint(checkpoint, data, split="train", workers=0).predictions) == 20
    assert len(tiny.evaluate_checkpoint(checkpoint, data / "val", workers=0).predictions) == 10


def test_broken_videos_stand_apart_with_their_reasons(checkpoint: Path, data: Path, tmp_path: Path):
    videos = tiny.copy_data(data, tmp_path / "videos", classes=3)
    broken = sorted((videos / "val").rglob("*.mp4"))[1]
    broken.write_text("no video")
    calls = []
    result = tiny.evaluate_checkpoint(checkpoint, videos, workers=0, progress=lambda *counts: calls.append(counts))
    assert [path for path, _ in result.broken] == [broken]
    assert len(result.predictions) == 2
    assert calls == [(1, 3), (2, 3), (3, 3)]
    figures = summary(result)
    assert (figures["evaluated"], figures["videos"]) == (2, 3)
    assert figures["not_evaluated"][0]["path"] == str(broken)
    assert figures["not_evaluated"][0]["reason"]
    [lines, *_] = evaluation_tables(result)
    assert str(lines).startswith("2 of 3 videos evaluated, one view each\n  1 not evaluated: ")


def test_table_and_summary_name_the_accuracy_of_videos_and_of_single_views(checkpoint: Path, data: Path):
    result = tiny.evaluate_checkpoint(checkpoint, data, num_clips=2, num_crops=3, workers=0)
    figures = summary(result)
    assert figures["views"] == 6
    for k in (1, 5):
        assert figures[f"top{k}"] == result.accuracy(k)
        assert figures[f"top{k}_single_view"] == result.view_accuracy(k)
    assert result.accuracy(5) != result.view_accuracy(5)
    [lines, *_] = evaluation_tables(result)
    first, videos, views = str(lines).splitlines()
    assert first == "10 of 10 videos evaluated, 6 views each"
    assert videos == (
        f"top-1 (video) {percent(result.accuracy())}   top-5 (video) {percent(result.accuracy(5))}   "
        f"loss {result.loss():.3f}"
    )
    assert views == (
        f"top-1 (single view) {percent(result.view_accuracy())}   "
        f"top-5 (single view) {percent(result.view_accuracy(5))}"
    )


def test_temperature_and_threshold_of_the_checkpoint_are_used(
    evaluated: evaluation.Evaluation, checkpoint: Path, data: Path, tmp_path: Path
):
    model, info = load_with_info(checkpoint)
    save(model, tmp_path / "calibrated", replace(info, temperature=2.0, threshold=0.2))
    result = tiny.evaluate_checkpoint(tmp_path / "calibrated", data, workers=0)
    for plain, softer in zip(evaluated.predictions, result.predictions, strict=True):
        roots = np.sqrt(plain.probabilities)
        np.testing.assert_allclose(softer.probabilities, roots / roots.sum(), rtol=1e-4)
    assert evaluated.threshold is None
    assert result.threshold == 0.2
    text = tiny.run_command("evaluate", tmp_path / "calibrated", data, "--workers", 0, "--out", tmp_path / "out").stdout
    assert re.search(r"below the threshold of 0\.2: [\d.]+% refused; precision of the rest [\d.n/a]+%?\n", text)


def test_not_one_readable_video_is_an_error(checkpoint: Path, data: Path, tmp_path: Path):
    videos = tiny.copy_data(data, tmp_path / "videos", classes=2)
    for path in (videos / "val").rglob("*.mp4"):
        path.write_text("no video")
    with pytest.raises(DataError, match=r"none of the 2 videos can be read; .*mp4"):
        tiny.evaluate_checkpoint(checkpoint, videos, workers=0)


def test_not_one_readable_video_leaves_earlier_results(checkpoint: Path, tmp_path: Path):
    (tmp_path / "broken" / CLASSES[0]).mkdir(parents=True)
    (tmp_path / "broken" / CLASSES[0] / "x.mp4").write_bytes(b"no video")
    (tmp_path / "out").mkdir()
    for options, name in (([], "predictions.csv"), (["--timeline"], "segments.csv")):
        (tmp_path / "out" / name).write_text("earlier")
        shown = tiny.run_command(
            *("evaluate", checkpoint, tmp_path / "broken", *options, "--out", tmp_path / "out", "--workers", 0)
        )
        assert (shown.returncode, shown.stderr.count("\n")) == (1, 1), shown.stderr
        assert shown.stderr.startswith("error: none of the 1 ")
        assert (tmp_path / "out" / name).read_text() == "earlier"
        (tmp_path / "out" / name).unlink()


def test_labels_are_matched_by_name(evaluated: evaluation.Evaluation, checkpoint: Path, data: Path, tmp_path: Path):
    """The checkpoint's classes are not in alphabetical order, and the folder has three of the ten."""
    videos = tiny.copy_data(data, tmp_path / "videos", classes=3)
    subset = tiny.evaluate_checkpoint(checkpoint, videos, workers=0)
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
        tiny.evaluate_checkpoint(checkpoint, videos, workers=0)
    assert str(checkpoint) in str(caught.value)


def test_checkpoint_without_names_takes_a_set_of_as_many_classes_only(data: Path, tmp_path: Path):
    from morphmlp.checkpoints.folder import save

    for num_classes in (10, 7):
        named = save_tiny(tmp_path / f"named_{num_classes}", labels=[str(i) for i in range(num_classes)])
        info = load_config(named)[1]
        save(load(named), tmp_path / f"unnamed_{num_classes}", replace(info, labels=[]))
    assert len(tiny.evaluate_checkpoint(tmp_path / "unnamed_10", data, workers=0).predictions) == 10
    with pytest.raises(DataError, match=r"has 10 classes, but .* has 7 outputs and no class names"):
        tiny.evaluate_checkpoint(tmp_path / "unnamed_7", data, workers=0)


def numbered_copy(data: Path, to: Path) -> tuple[Path, list[str]]:
    """The validation videos in class folders 0 to 9 of `to/set`, and rows that list them with the same numbers."""
    rows = []
    for number, folder in enumerate(sorted((data / "val").iterdir())):
        shutil.copytree(folder, to / "set" / str(number + 1))
        rows += [f"set/{number + 1}/{path.name},{number + 1}" for path in sorted(folder.iterdir())]
    return to, rows


def test_numbers_of_a_list_are_those_of_the_checkpoint_whatever_their_order(data: Path, tmp_path: Path):
    """Class folders 1 to 10 are in the order 1, 10, 2 of text; a list of the same files says the same numbers."""
    root, rows = numbered_copy(data, tmp_path)
    (root / "list.csv").write_text("\n".join(rows[:-1]))  # without the highest class
    by_text = save_tiny(tmp_path / "by_text", labels=sorted(str(i) for i in range(1, 11)))
    from_1 = save_tiny(tmp_path / "from_1", labels=[str(i) for i in range(1, 11)])
    for checkpoint in (by_text, from_1):
        result = tiny.evaluate_checkpoint(checkpoint, root / "list.csv", workers=0)
        assert len(result.predictions) == len(rows) - 1
        assert all(result.labels[p.label] == p.path.parent.name for p in result.predictions)
        assert result.note == ""


def test_numbers_that_meet_names_are_told_in_the_table(data: Path, tmp_path: Path):
    """They count from where they counted in the training, whose first class was 1."""
    root, rows = numbered_copy(data, tmp_path)
    (root / "list.csv").write_text("\n".join(rows[:2]))
    names = [f"class {i}" for i in range(1, 11)]
    named = save_tiny(tmp_path / "named", labels=names)
    info = replace(load_config(named)[1], training={"lists": {"first_label": 1}})
    save(load(named), tmp_path / "counted_from_1", info)
    result = tiny.evaluate_checkpoint(tmp_path / "counted_from_1", root / "list.csv", workers=0)
    assert [names[p.label] for p in result.predictions] == ["class 1", "class 2"]
    note = "the labels are numbers, matched by position: 1 = class 1, 2 = class 2"
    assert note in str(evaluation_tables(result)[0]).splitlines()


def test_image_checkpoint_is_refused(image_checkpoint: Path, data: Path):
    with pytest.raises(DataError, match=r"holds videos, but .* is a model of images \(tiny\); give a folder of images"):
        tiny.evaluate_checkpoint(image_checkpoint, data)


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
        tiny.evaluate_checkpoint(checkpoint, data, workers=0, **options)


def test_device_that_is_not_there_is_refused(checkpoint: Path, data: Path):
    with pytest.raises(DataError, match="device 'nonsense' is unknown; allowed: auto, cpu, cuda, mps, xpu"):
        tiny.evaluate_checkpoint(checkpoint, data, workers=0, device="nonsense")


def test_written_csv_holds_the_predictions(evaluated: evaluation.Evaluation, tmp_path: Path):
    write_predictions(evaluated, tmp_path / "predictions.csv")
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
    write_summary(evaluated, tmp_path / "summary.json")
    figures = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert figures == summary(evaluated)
    hits = [prediction.predicted == prediction.label for prediction in evaluated.predictions]
    assert figures["top1"] == sum(hits) / 10
    likelihoods = [prediction.probabilities[prediction.label] for prediction in evaluated.predictions]
    assert figures["loss"] == pytest.approx(-sum(math.log(value) for value in likelihoods) / 10)


def test_model_is_left_in_the_mode_it_was_in(checkpoint: Path, data: Path):
    model = load(checkpoint).train()
    videos = read_set(data, split="val")
    dataset = TestClips(videos.samples, 4, load_config(checkpoint)[1].input)
    evaluation.evaluate(model, make_test_loader(dataset, workers=0), videos)
    assert model.training


def test_a_folder_split_in_training_is_evaluated_on_what_was_held_out(data: Path, tmp_path: Path):
    videos = tmp_path / "videos"
    shutil.copytree(data / "train", videos)
    config = replace(tiny.run_config(videos, epochs=1), split=SplitConfig(val_fraction=0.5, seed=3))
    best = training.train(config, tmp_path / "run").best
    _, held_out = read_training_sets(videos, config.split)
    for split, expected in ((None, held_out.samples), ("val", held_out.samples)):
        result = tiny.evaluate_checkpoint(best, videos, split=split, workers=0)
        assert [p.path for p in result.predictions] == [sample.path for sample in expected]
    assert len(tiny.evaluate_checkpoint(best, videos, split="train", workers=0).predictions) == 10
    assert len(tiny.evaluate_checkpoint(best, videos, split="all", workers=0).predictions) == 20
    shutil.copytree(videos, tmp_path / "other")
    assert len(tiny.evaluate_checkpoint(best, tmp_path / "other", workers=0).predictions) == 20


# What the checkpoint says of the input


@pytest.mark.parametrize(
    "change",
    [
        {"channel_order": "bgr"},
        {"mean": (0.1, 0.5, 0.9)},
        {"std": (0.1, 0.2, 0.4)},
        {"resize": 48},
        {"resize": 48, "one_crop": "start"},
        {"sampling": "dense", "stride": 2},
        {"num_clips": 2},
        {"num_crops": 3},
        {"antialias": True},
        {"interpolation": "bicubic"},
    ],
    ids=str,
)
def test_normalisation_channel_order_size_crops_and_views_come_from_the_checkpoint(
    change: dict, checkpoint: Path, data: Path, tmp_path: Path, evaluated: evaluation.Evaluation
):
    model, (_, info) = load(checkpoint), load_config(checkpoint)
    changed = replace(info, input=replace(info.input, **change))
    save(model, tmp_path / "changed", changed)
    result = tiny.evaluate_checkpoint(tmp_path / "changed", data, workers=0)
    given = TestClips([Sample(p.path, p.label) for p in result.predictions], 4, changed.input)
    differs = 0
    for i, prediction in enumerate(result.predictions[:4]):
        with torch.no_grad():
            logits = model(given[i].clips)
        np.testing.assert_allclose(prediction.probabilities, logits.mean(dim=0).softmax(dim=0), atol=1e-5)
        differs += not np.allclose(prediction.probabilities, evaluated.predictions[i].probabilities, atol=1e-5)
    assert differs >= 2


def test_aggregation_comes_from_the_checkpoint_unless_it_is_given(checkpoint: Path, data: Path, tmp_path: Path):
    model, (_, info) = load(checkpoint), load_config(checkpoint)
    changed = replace(info, input=replace(info.input, num_clips=3, aggregation="probabilities"))
    save(model, tmp_path / "changed", changed)
    of_checkpoint = tiny.evaluate_checkpoint(tmp_path / "changed", data, workers=0)
    given = tiny.evaluate_checkpoint(checkpoint, data, num_clips=3, aggregation="probabilities", workers=0)
    other = tiny.evaluate_checkpoint(checkpoint, data, num_clips=3, workers=0)
    for left, same, different in zip(of_checkpoint.predictions, given.predictions, other.predictions, strict=True):
        np.testing.assert_array_equal(left.probabilities, same.probabilities)
        assert not np.array_equal(left.probabilities, different.probabilities)


# Lists


def test_lists_are_read_as_in_training_unless_said_otherwise(data: Path, tmp_path: Path):
    """A list of numbers whose classes have names in a file, elsewhere than the videos."""
    data = tiny.copy_data(data, tmp_path / "videos", classes=3)
    names = sorted(path.name for path in (data / "train").iterdir())
    (tmp_path / "names.txt").write_text("".join(f"{name}\n" for name in names))
    lists = {"prefix": str(data), "labels": str(tmp_path / "names.txt")}
    for part in ("train", "val"):
        rows = [
            f"{part}/{path.parent.name}/{path.name},{names.index(path.parent.name)}"
            for path in sorted((data / part).rglob("*.mp4"))
        ]
        (tmp_path / f"{part}_rows.csv").write_text("\n".join(rows))
        lists[part] = str(tmp_path / f"{part}_rows.csv")
    config = replace(tiny.run_config(data, epochs=1), lists=ListConfig(**lists))
    best = training.train(config, tmp_path / "run").best
    result = tiny.evaluate_checkpoint(best, data, workers=0)
    assert [p.path for p in result.predictions] == [data / row.split(",")[0] for row in rows]
    assert result.labels == names

    (tmp_path / "two.csv").write_text("\n".join(rows[:2]))
    result = tiny.evaluate_checkpoint(best, data, lists={"val": str(tmp_path / "two.csv")}, workers=0)
    assert len(result.predictions) == 2
    # Another folder has lists of its own.
    elsewhere = tiny.copy_data(data, tmp_path / "elsewhere", classes=2)
    assert len(tiny.evaluate_checkpoint(best, elsewhere, workers=0).predictions) == 2


# Several processes


def run_two(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line in two processes; what they give together."""
    first, second = fresh.run_together(2, tiny.command(*arguments), env=tiny.environment())
    texts = (first.stdout + second.stdout, first.stderr + second.stderr)
    return subprocess.CompletedProcess(first.args, first.returncode or second.returncode, *texts)


def test_two_processes_give_the_result_of_one(checkpoint: Path, data: Path, tmp_path: Path):
    """Six videos in two batches of three, with 9 views each; one cannot be read. All figures and files are equal."""
    videos = tiny.copy_data(data, tmp_path / "videos", classes=3)
    broken = sorted((videos / "train").rglob("*.mp4"))[4]
    broken.write_text("no video")
    options = ["--split", "train", "--clips", "3", "--crops", "3", "--workers", "1", "--json"]
    one = tiny.run_command("evaluate", checkpoint, videos, *options, "--out", tmp_path / "one")
    two = run_two("evaluate", checkpoint, videos, *options, "--out", tmp_path / "two")
    assert two.returncode == 0, two.stderr
    assert one.stdout == two.stdout
    assert json.loads(two.stdout)["not_evaluated"][0]["path"] == str(broken)
    for name in ("predictions.csv", "summary.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_process_whose_share_is_broken_does_not_stop_the_other(checkpoint: Path, data: Path, tmp_path: Path):
    """With 6 x 3 views each video is a batch, and the second process has none that can be read."""
    videos = tiny.copy_data(data, tmp_path / "videos", classes=4)
    paths = sorted((videos / "val").rglob("*.mp4"))
    for path in paths[1::2]:
        path.write_text("no video")
    options = ["--clips", "6", "--crops", "3", "--workers", "0", "--out", tmp_path / "out"]
    process = run_two("evaluate", checkpoint, videos, *options)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("2 of 4 videos evaluated, 18 views each") == 1


def test_an_error_of_one_process_is_told_to_the_others(checkpoint: Path, data: Path, monkeypatch: pytest.MonkeyPatch):
    """The other process's failure comes with what is gathered."""
    videos = read_set(data, split="val")
    dataset = TestClips(videos.samples, 4, load_config(checkpoint)[1].input)
    loader = make_test_loader(dataset, workers=0)
    told = []

    def gather(items: list) -> list:
        told.append(items)
        return [*items, DataError("the other process failed")]

    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "gather", gather)
    with pytest.raises(DataError, match="the other process failed"):
        evaluation.evaluate(load(checkpoint), loader, videos)
    assert told == [[]]

    monkeypatch.setattr(evaluation, "predict_samples", lambda *arguments, **options: iter([1 / 0]))
    with pytest.raises(ZeroDivisionError):  # a defect of ours: the others are told of it too
        evaluation.evaluate(load(checkpoint), loader, videos)

    def fail(*arguments, **options):
        raise OSError("disk gone")

    monkeypatch.setattr(evaluation, "predict_samples", fail)
    with pytest.raises(OSError, match="disk gone"):
        evaluation.evaluate(load(checkpoint), loader, videos)
    assert [str(error) for error in told[-1]] == ["disk gone"]


@pytest.mark.parametrize(
    ("precision", "dtype", "left"),
    [("fp32", torch.float32, "fp32"), ("bf16", torch.bfloat16, "fp32"), ("fp16", None, "fp16")],
)
def test_a_model_is_optimized_for_its_precision(checkpoint: Path, precision: str, dtype: torch.dtype | None, left: str):
    model = load(checkpoint)
    engine = "auto" if dtype is None else "optimized"
    fast, execution = for_inference(model, Execution("cpu", precision, engine=engine))
    assert execution.precision == left  # what autocast has to do
    if dtype is None:
        assert fast is model
    else:
        assert isinstance(fast, InferenceModel)
        assert fast.dtype == dtype


@pytest.mark.parametrize(("engine", "processor"), [("torch", "intel amx"), ("auto", "intel amx"), ("auto", "arm64")])
def test_a_small_model_that_optimize_would_slow_down_stays_as_it_is(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, engine: str, processor: str
):
    monkeypatch.setattr("morphmlp.inference.engines.processor_kind", lambda: processor)
    model = load(checkpoint)
    assert for_inference(model, Execution("cpu", "bf16", engine=engine)) == (
        model,
        Execution("cpu", "bf16", engine=engine),
    )


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_gives_nearly_the_same_probabilities(checkpoint: Path, data: Path, precision: str):
    exact, mixed = (
        tiny.evaluate_checkpoint(checkpoint, data, split="val", workers=0, precision=name)
        for name in ("fp32", precision)
    )
    differences = [
        np.abs(theirs.probabilities - ours.probabilities).max()
        for ours, theirs in zip(exact.predictions, mixed.predictions, strict=True)
    ]
    assert 0 < max(differences) < 0.02
