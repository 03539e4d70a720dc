"""Whole recordings: their windows, what is true of them, and the report, on a model with random weights."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from encoding import with_times

from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.video import probe
from morphmlp.data.sets.background import NOTHING
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.demo.recordings import Action, render_recording
from morphmlp.demo.scenes import CLASSES
from morphmlp.demo.synthetic import FPS, encode
from morphmlp.errors import ConfigError, DataError
from morphmlp.inference.device import Execution
from morphmlp.tasks.classification.prediction import load_classifier
from morphmlp.tasks.classification.predictor import Predictor
from morphmlp.tasks.classification.task import TIMELINE_FILES
from morphmlp.tasks.classification.timeline import report
from morphmlp.tasks.classification.timeline.evaluation import (
    TimelineEvaluation,
    TimelineSettings,
    settings_for,
    watch_labelled,
)
from morphmlp.tasks.classification.timeline.metrics import Recording
from morphmlp.tasks.classification.timeline.segments import Segment

RULE = TimelineSettings(length_s=2.0, step_s=0.5, threshold=None, shortest_s=0.5)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Action]]:
    """A recording of two actions, 8.67 s long."""
    path = tmp_path_factory.mktemp("recorded") / "recording.mp4"
    frames, actions = render_recording(0, num_actions=2)
    encode(path, frames, key_frame_every=12)
    return path, actions


def watch(samples: list[Sample], checkpoint: Path, rule: TimelineSettings = RULE, **fields) -> TimelineEvaluation:
    model, info = load_classifier(checkpoint)
    labelled = LabelledSet(samples, fields.pop("classes", list(CLASSES)))
    execution = Execution(workers=0, **fields)
    return watch_labelled(model, labelled, rule, info.input, num_frames=model.config.frames, execution=execution)


def samples_of(recorded: tuple[Path, list[Action]]) -> list[Sample]:
    path, actions = recorded
    return [Sample(Stretch(path, a.start_s, a.end_s), CLASSES.index(a.label)) for a in actions]


@pytest.fixture(scope="module")
def watched(recorded: tuple[Path, list[Action]], checkpoint: Path) -> TimelineEvaluation:
    return watch(samples_of(recorded), checkpoint)


def test_windows_cover_a_recording_and_the_truth_is_its_stretches(
    watched: TimelineEvaluation, recorded: tuple[Path, list[Action]]
):
    [recording] = watched.recordings
    assert recording.name == str(recorded[0])
    assert recording.duration_s == pytest.approx(104 / FPS)
    assert [window.start_s for window in recording.windows] == [0.5 * i for i in range(15)]
    assert [window.end_s for window in recording.windows][-2:] == [8.5, pytest.approx(104 / FPS)]
    assert [(s.start_s, s.end_s, s.label) for s in recording.truth] == [
        (action.start_s, action.end_s, action.label) for action in recorded[1]
    ]


def test_a_window_that_is_the_whole_file_is_predicted_as_the_file(data: Path, checkpoint: Path):
    path = sorted((data / "val").rglob("*.mp4"))[0]
    [recording] = watch([Sample(path, 0)], checkpoint, TimelineSettings(10, 1, None, 0)).recordings
    [window] = recording.windows
    np.testing.assert_allclose(window.probabilities, Predictor(checkpoint)(path).probabilities, atol=1e-6)
    assert recording.truth[0].end_s == recording.duration_s == probe(path).duration_s


def test_a_stretch_in_frames_and_one_past_the_end_are_true_in_seconds(
    recorded: tuple[Path, list[Action]], checkpoint: Path
):
    path, _ = recorded
    samples = [Sample(Stretch(path, 12, 30, "frames"), 1), Sample(Stretch(path, 5, 8.9), 2)]
    [recording] = watch(samples, checkpoint, TimelineSettings(8, 8, None, 0)).recordings
    assert [(s.start_s, s.end_s) for s in recording.truth] == [(1, 2.5), (5, recording.duration_s)]
    assert recording.note == "5 to 8.9 s: its video ends at 8.66667 s, 0.233 s before the end of the stretch"


def test_pictures_that_begin_after_the_sound_are_watched_to_their_end(checkpoint: Path, tmp_path: Path):
    path = with_times(tmp_path / "x.mkv", range(24, 60), sound_s=5)
    [recording] = watch([Sample(Stretch(path, 3, 4.5), 0)], checkpoint, TimelineSettings(1, 1, None, 0)).recordings
    assert [(segment.start_s, segment.end_s) for segment in recording.truth] == [(3, 4.5)]
    assert [window.end_s for window in recording.windows] == pytest.approx([1, 2, 3, 4, 5])
    windows = [*Predictor(checkpoint).windows(path, length_s=1, step_s=1)]
    for mine, theirs in zip(recording.windows, windows, strict=True):
        np.testing.assert_allclose(mine.probabilities, theirs.prediction.probabilities, atol=1e-6)


def test_a_recording_that_is_cut_off_says_so(recorded: tuple[Path, list[Action]], checkpoint: Path, tmp_path: Path):
    whole, half = tmp_path / "whole.mkv", tmp_path / "half.mkv"
    encode(whole, render_recording(0, num_actions=2)[0], key_frame_every=12)
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    [recording] = watch([Sample(Stretch(half, 0, 1), 0)], checkpoint, TimelineSettings(8, 8, None, 0)).recordings
    assert recording.note == f"{probe(half).num_frames} of 104 frames can be read"


@pytest.mark.parametrize(
    ("stretch", "reason"),
    [
        ((5, 11), "its stretch 5 to 11 s ends 2.33333 s after the end, as its video ends at 8.66667 s"),
        ((50, 52), "its stretch 50 to 52 s starts after the end, as its video ends at 8.66667 s"),
        ((50, 99, "frames"), None),
        ((50, 130, "frames"), "its stretch frames 50 to 129 ends 2.16667 s after the end, as the file has 104 frames"),
    ],
)
def test_labels_far_past_the_end_are_no_truth(recorded, checkpoint: Path, data: Path, stretch: tuple, reason: str):
    path, other = recorded[0], sorted((data / "val").rglob("*.mp4"))[0]
    result = watch([Sample(Stretch(path, *stretch), 0), Sample(other, 0)], checkpoint)
    if reason is None:
        assert result.broken == []
    else:
        [(where, why)] = result.broken
        assert where == path
        assert why.startswith(reason)


def test_background_is_neither_true_nor_found(recorded: tuple[Path, list[Action]], checkpoint: Path):
    path, _ = recorded
    samples = [Sample(Stretch(path, 0, 2), 0), Sample(Stretch(path, 3, 4), 1)]
    everything = watch(samples, checkpoint)
    [favourite, *_] = sorted({segment.label for segment in everything.recordings[0].predicted})
    classes = [NOTHING if name == favourite else name for name in CLASSES]
    [recording] = watch(samples, checkpoint, classes=classes).recordings
    assert NOTHING not in {segment.label for segment in [*recording.truth, *recording.predicted, *recording.ranked]}
    assert recording.predicted  # as no class of random weights has half of the probability


def test_recordings_that_cannot_be_read_are_kept_apart(
    recorded: tuple[Path, list[Action]], checkpoint: Path, tmp_path: Path
):
    broken = Sample(Stretch(tmp_path / "missing.mp4", 0, 1), 0)
    result = watch([broken, *samples_of(recorded)], checkpoint)
    assert [path for path, _ in result.broken] == [tmp_path / "missing.mp4"]
    assert len(result.recordings) == 1
    assert report.summary(result)["not_evaluated"][0]["path"] == str(tmp_path / "missing.mp4")
    with pytest.raises(DataError, match="none of the 1 recordings can be read"):
        watch([broken], checkpoint)


def test_progress_counts_windows(recorded: tuple[Path, list[Action]], checkpoint: Path):
    calls: list[tuple[int, int]] = []
    watch(samples_of(recorded), checkpoint, progress=lambda *counts: calls.append(counts))
    assert calls == [(i, 15) for i in range(1, 16)]


def test_settings_that_are_not_given_suit_the_checkpoint(checkpoint: Path):
    model, info = load_classifier(checkpoint)
    assert settings_for(model, info) == TimelineSettings(2.0, 1.0, None, 0.5)
    assert settings_for(model, info, length_s=1, threshold=0.7) == TimelineSettings(1, 0.5, 0.7, 0.5)
    assert settings_for(model, info, threshold=0.7, low=0.3).low == 0.3
    learned = replace(info, input=replace(info.input, window_s=1.2))
    assert settings_for(model, learned) == TimelineSettings(1.2, 0.15, None, 0.3, core_s=0.3)
    assert settings_for(model, learned, step_s=0.5, shortest_s=0.1).core_s == 0.5
    assert settings_for(model, learned, length_s=4).shortest_s == 0.5
    with pytest.raises(ConfigError, match=r"low=0\.3 closes what a threshold opens, and there is none"):
        settings_for(model, info, low=0.3)
    with pytest.raises(ConfigError, match="step of a window is 0 s"):
        settings_for(model, info, step_s=0)


def test_the_mean_average_precision_ranks_every_label_of_a_segment(watched: TimelineEvaluation):
    [recording] = watched.recordings
    assert recording.ranked is not None
    assert len(recording.ranked) == len(CLASSES) * len(recording.predicted)
    assert list(recording.ranked[: len(recording.predicted)]) == list(recording.predicted)
    wrong = replace(watched, recordings=[replace(recording, truth=[_renamed(s) for s in recording.predicted])])
    assert report.summary(wrong)["map"] > 0
    assert report.summary(wrong)["map_of_answers"] == 0
    assert report.summary(wrong)["segment_f1_at"]["10"] == 0


def _renamed(segment: Segment) -> Segment:
    """With the label after its own."""
    return replace(segment, label=CLASSES[(CLASSES.index(segment.label) + 1) % len(CLASSES)])


def test_segments_of_a_threshold_are_ranked_as_they_are(recorded, checkpoint: Path):
    [recording] = watch(samples_of(recorded), checkpoint, replace(RULE, threshold=0.01)).recordings
    assert recording.ranked == recording.predicted


def perfect(watched: TimelineEvaluation) -> TimelineEvaluation:
    """The same with what is true found."""
    [one] = watched.recordings
    found = type(one)(one.name, one.duration_s, one.truth, one.truth, source=one.source, windows=one.windows)
    return TimelineEvaluation(watched.labels, [found], watched.settings)


def test_the_report_has_every_figure_and_a_picture_of_each_recording(watched: TimelineEvaluation, tmp_path: Path):
    report.write_evaluation(perfect(watched), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(TIMELINE_FILES)
    figures = json.loads((tmp_path / "summary.json").read_text())
    assert (figures["recordings"], figures["evaluated"], figures["true_segments"]) == (1, 1, 2)
    assert (
        figures["map"]
        == figures["map_of_answers"]
        == figures["frame_accuracy"]
        == figures["frame_accuracy_labelled"]
        == 1
    )
    assert figures["map_at_tiou"] == dict.fromkeys(["0.3", "0.4", "0.5", "0.6", "0.7"], 1.0)
    assert figures["segment_f1_at"] == {"10": 1.0, "25": 1.0, "50": 1.0}
    assert figures["of_recordings"][0]["segment_f1_at_50"] == 1
    by_class = {row["class"]: row for row in figures["classes"]}
    labels = {segment.label for segment in watched.recordings[0].truth}
    assert {name for name, row in by_class.items() if row["ap"] == 1} == labels
    assert {name for name, row in by_class.items() if row["ap"] is None} == set(CLASSES) - labels
    rows = list(csv.DictReader((tmp_path / "segments.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == [segment.label for segment in watched.recordings[0].truth]
    assert [path.name for path in (tmp_path / "timelines").iterdir()] == ["recording.png"]
    page = (tmp_path / "timelines.html").read_text()
    assert page.count("data:image/jpeg") == 1
    [lines, table] = report.evaluation_tables(perfect(watched))
    assert "1 of 1 recordings, 9 s, watched through windows of 2 s every 0.5 s; most probable label" in str(lines)
    assert "mAP 100.0%" in str(lines)
    assert table is not None


def test_the_frames_shown_are_evenly_spaced(watched: TimelineEvaluation):
    [recording] = watched.recordings
    frames = report.frames_over(recording, 4)
    assert frames is not None
    rendered, _ = render_recording(0, num_actions=2)
    for frame, part in zip(frames, range(4), strict=True):
        number = int(np.ceil((part + 0.5) * recording.duration_s / 4 * FPS))
        assert np.abs(frame.astype(int) - rendered[number]).mean() < 8


def test_the_command_writes_and_prints_the_figures(data: Path, checkpoint: Path, tmp_path: Path):
    few = tiny.copy_data(data, tmp_path / "few", classes=2)
    (few / "labels.txt").write_text("\n".join(CLASSES))
    out = tmp_path / "out"
    process = tiny.run_command(
        *("evaluate", checkpoint, few, "--timeline", "--length", 1, "--workers", 0, "--json", "--out", out)
    )
    assert process.returncode == 0, process.stderr
    figures = json.loads(process.stdout)
    assert figures == json.loads((out / "summary.json").read_text())
    assert (figures["recordings"], figures["length_s"], figures["step_s"]) == (2, 1, 0.5)
    assert process.stderr.endswith(f"summary.json, segments.csv, timelines.html and timelines are in {out}\n")
    assert len(list((out / "timelines").iterdir())) == 2
    (out / "mine.txt").touch()
    process = tiny.run_command("evaluate", checkpoint, few, "--timeline", "--workers", 0, "--out", out)
    assert process.returncode == 1
    assert "holds something else than a timeline" in process.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--length", 2], "--length: of windows over whole recordings; give --timeline too"),
        (["--timeline", "--shuffle_frames"], "--shuffle_frames has no meaning with --timeline"),
        (["--timeline", "--baseline", "false"], "--baseline has no meaning with --timeline"),
        (["--timeline", "--group_pattern", "x"], "--group_pattern has no meaning with --timeline"),
    ],
)
def test_options_that_do_not_fit_one_another_are_refused(
    options: list[object], message: str, checkpoint: Path, tmp_path: Path
):
    process = tiny.run_command("evaluate", checkpoint, tmp_path, *options)
    assert process.returncode == 1
    assert message in process.stderr


def test_a_model_of_images_has_no_timeline(image_checkpoint: Path, tmp_path: Path):
    from PIL import Image

    for name in CLASSES:
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "images" / name / "a.png")
    process = tiny.run_command("evaluate", image_checkpoint, tmp_path / "images", "--timeline", "--workers", 0)
    assert process.returncode == 1
    assert "holds images, which have no timeline; leave out --timeline" in process.stderr


def test_a_recording_is_what_the_metrics_take(watched: TimelineEvaluation):
    assert isinstance(watched.recordings[0], Recording)
