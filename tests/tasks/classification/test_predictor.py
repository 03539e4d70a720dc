"""Prediction of single videos, folders and globs."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import tiny
from PIL import Image

import morphmlp
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.find import expand_paths
from morphmlp.demo.synthetic import CLASSES
from morphmlp.errors import CheckpointError, ConfigError, DataError, MediaError
from morphmlp.tasks.classification.predictor import Prediction, Predictor
from morphmlp.tasks.classification.report import as_row, write_csv


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return Predictor(checkpoint)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Names without contents, as finding files needs no more."""
    for name in ("a.mp4", "b.MKV", "notes.txt", "deep/er/c.webm", ".hidden.mp4", "take [1].mp4", "take 1.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


# Predictor


def test_public_predictor_takes_a_path_and_gives_the_best_classes(checkpoint: Path, data: Path):
    prediction = morphmlp.Predictor(checkpoint)(str(data / "val" / "moving_up" / "moving_up_0001.mp4"))
    top = prediction.top(3)
    assert len(top) == 3
    assert all(label in CLASSES for label, _ in top)
    assert [probability for _, probability in top] == sorted(prediction.probabilities.tolist(), reverse=True)[:3]
    assert len(prediction.top(99)) == 10


def test_a_stretch_is_predicted_and_not_its_whole_file(predictor: Predictor, data: Path):
    video = data / "val" / "moving_up" / "moving_up_0001.mp4"
    part = Stretch(video, 0.5, 1.0)
    window = list(predictor.windows(video, length_s=0.5, step_s=0.5))[1]
    assert predictor(part).path == part
    np.testing.assert_array_equal(predictor(part).probabilities, window.prediction.probabilities)
    assert not np.allclose(predictor(part).probabilities, predictor(video).probabilities)


def test_single_prediction_is_that_of_many_and_of_an_evaluation(predictor: Predictor, checkpoint: Path, data: Path):
    paths = sorted(data.glob("val/*/*.mp4"))
    many = list(predictor.many(paths, workers=0))
    evaluated = {prediction.path: prediction for prediction in tiny.evaluate_checkpoint(checkpoint, data).predictions}
    assert [prediction.path for prediction in many] == paths
    for prediction in many:
        np.testing.assert_allclose(prediction.probabilities, evaluated[prediction.path].probabilities, atol=1e-5)
    np.testing.assert_allclose(predictor(paths[3]).probabilities, many[3].probabilities, atol=1e-5)


def test_workers_do_not_change_the_predictions(predictor: Predictor, data: Path):
    paths = sorted(data.glob("val/*/*.mp4"))
    for one, other in zip(predictor.many(paths, workers=0), predictor.many(paths, workers=2), strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_protocol_can_be_changed(checkpoint: Path, data: Path):
    video = data / "val" / "moving_up" / "moving_up_0001.mp4"
    predictor = Predictor(checkpoint, num_clips=2, num_crops=3, aggregation="probabilities")
    assert (predictor.input.num_clips, predictor.input.num_crops) == (2, 3)
    assert not np.allclose(predictor(video).probabilities, Predictor(checkpoint)(video).probabilities)


def test_missing_and_broken_files_among_good_ones_are_named(predictor: Predictor, data: Path, tmp_path: Path):
    good = data / "val" / "moving_up" / "moving_up_0001.mp4"
    (tmp_path / "text.mp4").write_text("no video")
    results = list(predictor.many([good, tmp_path / "missing.mp4", tmp_path / "text.mp4", good], workers=0))
    by_path = {str(result.path): result for result in results}
    assert len(results) == 4
    assert isinstance(by_path[str(good)], Prediction)
    for name in ("missing.mp4", "text.mp4"):
        assert isinstance(by_path[str(tmp_path / name)], MediaError)


def test_broken_single_video_raises_its_reason(predictor: Predictor, tmp_path: Path):
    with pytest.raises(MediaError, match="No such file") as caught:
        predictor(tmp_path / "missing.mp4")
    assert caught.value.path == tmp_path / "missing.mp4"


def test_checkpoint_without_names_counts_its_classes(data: Path, tmp_path: Path):
    model = morphmlp.MorphMLP(tiny.model_config(3))
    morphmlp.save(model, tmp_path / "unnamed", morphmlp.CheckpointInfo(input=tiny.INPUT))
    prediction = Predictor(tmp_path / "unnamed")(data / "val" / "moving_up" / "moving_up_0001.mp4")
    assert {label for label, _ in prediction.top()} == {"0", "1", "2"}


def test_a_video_for_an_image_model_and_a_missing_checkpoint_are_refused(image_checkpoint: Path, tmp_path: Path):
    with pytest.raises(MediaError, match="is a video, but the checkpoint takes images"):
        Predictor(image_checkpoint)("x.mp4")
    with pytest.raises(CheckpointError, match="is no checkpoint folder"):
        Predictor(tmp_path / "missing")


# Paths


def test_files_stand_as_they_are_and_each_once(folder: Path):
    given = [str(folder / "notes.txt"), str(folder / "missing.mp4"), str(folder / "notes.txt")]
    assert expand_paths(given, "video") == [folder / "notes.txt", folder / "missing.mp4"]


def test_folder_is_searched_for_videos_at_any_depth(folder: Path):
    names = [str(path.relative_to(folder)) for path in expand_paths([str(folder)], "video")]
    assert sorted(names) == ["a.mp4", "b.MKV", "deep/er/c.webm", "take 1.mp4", "take [1].mp4"]


def test_folder_of_frames_is_a_video_where_videos_are_wanted(predictor: Predictor, data: Path, tmp_path: Path):
    video = data / "val" / "moving_up" / "moving_up_0001.mp4"
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    (tmp_path / "set" / "walk").mkdir(parents=True)
    for number, frame in enumerate(frames, start=1):
        Image.fromarray(frame).save(tmp_path / "set" / "walk" / f"{number:05d}.png")
    for given in ("set", "set/walk"):
        assert expand_paths([str(tmp_path / given)], "video") == [tmp_path / "set" / "walk"]
    assert len(expand_paths([str(tmp_path / "set")], "image")) == len(frames)
    of_frames, of_video = predictor(tmp_path / "set" / "walk"), predictor(video)
    np.testing.assert_allclose(of_frames.probabilities, of_video.probabilities, atol=1e-5)


def test_globs_match_files_only(folder: Path):
    assert expand_paths([str(folder / "*.mp4")], "video") == [
        folder / "a.mp4",
        folder / "take 1.mp4",
        folder / "take [1].mp4",
    ]
    assert folder / "deep/er/c.webm" in expand_paths([str(folder / "**" / "*.webm")], "video")
    assert folder / "deep" not in expand_paths([str(folder / "*")], "video")


def test_name_with_brackets_that_exists_is_no_glob(folder: Path):
    assert expand_paths([str(folder / "take [1].mp4")], "video") == [folder / "take [1].mp4"]


def test_folder_and_a_file_in_it_give_the_file_once(folder: Path):
    paths = expand_paths([str(folder / "a.mp4"), str(folder)], "video")
    assert paths[0] == folder / "a.mp4"
    assert paths.count(folder / "a.mp4") == 1


@pytest.mark.parametrize("pattern", ["*.avi", "empty"])
def test_pattern_or_folder_without_a_video_is_an_error(pattern: str, folder: Path):
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="no videos found"):
        expand_paths([str(folder / pattern)], "video")


# Output


def test_rows_hold_the_best_classes_or_the_error():
    prediction = Prediction(Path("a.mp4"), ["up", "down"], np.array([0.25, 0.75]))
    assert as_row(prediction, 1) == {
        "path": "a.mp4",
        "answer": "down",
        "top": [{"label": "down", "probability": 0.75}],
    }
    assert as_row(MediaError("b.mp4", "is empty"), 1) == {"path": "b.mp4", "error": "is empty"}


def test_csv_has_a_row_for_each_rank_and_each_error(tmp_path: Path):
    prediction = Prediction(Path("a.mp4"), ["up, or so", "down"], np.array([0.25, 0.75]), note="1 s is missing")
    write_csv([as_row(prediction, 2), as_row(MediaError("b.mp4", "is empty"), 2)], tmp_path / "out.csv")
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["path", "rank", "label", "probability", "error", "answer", "incomplete"],
        ["a.mp4", "1", "down", "0.75", "", "down", "1 s is missing"],
        ["a.mp4", "2", "up, or so", "0.25", "", "down", "1 s is missing"],
        ["b.mp4", "", "", "", "is empty", "", ""],
    ]


def test_csv_holds_no_formulas(tmp_path: Path):
    prediction = Prediction(Path("=a.mp4"), ["@SUM(1)", "down"], np.array([0.75, 0.25]))
    write_csv([as_row(prediction, 1), as_row(MediaError("+b.mp4", "-1"), 2)], tmp_path / "out.csv")
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[1:] == [
        ["./=a.mp4", "1", "'@SUM(1)", "0.75", "", "'@SUM(1)", ""],
        ["./+b.mp4", "", "", "", "'-1", "", ""],
    ]


@pytest.mark.parametrize(
    ("threshold", "answer"), [(None, "down"), (0.0, "down"), (0.75, "down"), (0.7501, "none of these")]
)
def test_the_answer_below_the_threshold_is_none_of_these(threshold: float | None, answer: str):
    prediction = Prediction(Path("a.mp4"), ["up", "down"], np.array([0.25, 0.75]), threshold)
    assert prediction.answer == answer
    assert as_row(prediction, 1)["top"] == [{"label": "down", "probability": 0.75}]


def calibrated(checkpoint: Path, folder: Path, **fields: float) -> Path:
    model, info = morphmlp.load_with_info(checkpoint)
    morphmlp.save(model, folder, replace(info, **fields))
    return folder


def test_the_checkpoints_temperature_and_threshold_are_used_and_a_given_threshold_goes_before(
    checkpoint: Path, data: Path, tmp_path: Path
):
    video = data / "val" / "moving_up" / "moving_up_0001.mp4"
    plain = Predictor(checkpoint)(video)
    softer = calibrated(checkpoint, tmp_path / "softer", temperature=2.0, threshold=0.99)
    prediction = Predictor(softer)(video)
    roots = np.sqrt(plain.probabilities)  # softmax(z / 2) is the root of softmax(z), made to add up to one
    np.testing.assert_allclose(prediction.probabilities, roots / roots.sum(), rtol=1e-5)
    assert (plain.answer, prediction.answer) == (plain.top(1)[0][0], "none of these")
    assert Predictor(softer, threshold=0.0)(video).answer == plain.answer
    assert Predictor(checkpoint, threshold=0.999)(video).answer == "none of these"
    with pytest.raises(ConfigError, match=r"threshold is 1\.5; allowed: 0 to 1"):
        Predictor(checkpoint, threshold=1.5)


def test_predict_shows_the_answer_everywhere(checkpoint: Path, data: Path, tmp_path: Path):
    video = data / "val" / "moving_up" / "moving_up_0001.mp4"
    softer = calibrated(checkpoint, tmp_path / "softer", threshold=0.999)
    shown = tiny.run_command("predict", softer, video, "--csv", tmp_path / "out.csv", "--workers", 0)
    assert "none of these" in shown.stdout
    assert (tmp_path / "out.csv").read_text().splitlines()[1].endswith(",none of these,")
    (row,) = json.loads(tiny.run_command("predict", softer, video, "--json", "--workers", 0).stdout)
    assert row["answer"] == "none of these"
    forced = tiny.run_command("predict", softer, video, "--json", "--workers", 0, "--threshold", 0)
    (row,) = json.loads(forced.stdout)
    assert row["answer"] == row["top"][0]["label"]


def test_predictions_of_nothing_cost_no_earlier_csv(checkpoint: Path, tmp_path: Path):
    (tmp_path / "out.csv").write_text("earlier")
    missing = tmp_path / "missing.mp4"
    shown = tiny.run_command("predict", checkpoint, missing, "--csv", tmp_path / "out.csv", "--workers", 0)
    assert (shown.returncode, shown.stderr.count("\n")) == (1, 1)
    assert (tmp_path / "out.csv").read_text() == "earlier"


def test_equal_probabilities_keep_the_order_of_the_classes():
    prediction = Prediction(Path("a.mp4"), ["c", "a", "b"], np.array([0.3, 0.4, 0.3]))
    assert [label for label, _ in prediction.top(3)] == ["a", "c", "b"]
