"""What `morphmlp train DIR` chooses by the data, and that what is given wins."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.checkpoints.folder import load_config
from morphmlp.config import AugmentConfig, InputConfig, RunConfig, TrainConfig
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.background import NOTHING
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.read import read_training_sets
from morphmlp.errors import ConfigError
from morphmlp.models.zoo import model_config
from morphmlp.tasks.classification.training import _rare_classes
from morphmlp.tasks.selection import held_out_to_select
from morphmlp.training import run as training
from morphmlp.training import set_facts as facts_module
from morphmlp.training.defaults import (
    HEADER,
    LEAST_STEPS,
    MOST_EPOCHS,
    choose,
    clip_frames,
    clip_size,
    ema_decay,
    packaged_start,
)
from morphmlp.training.run_folder import RunFolder
from morphmlp.training.set_facts import MachineFacts, SetFacts, set_facts

MACHINE = MachineFacts(num_cores=2)
BASKETBALL = SetFacts("video", 226, (57, 40, 50, 39, 40), ("a", "bb"), True, (5, 7, 10), (90, 160))
WORDS = SetFacts("video", 1100, (110,) * 10, ("begin", "stop"), True, (6, 10, 18), (62, 128))
KINETICS = SetFacts("video", 240_000, (600,) * 400, ("abseiling", "archery"), True, (30, 300, 300), (256, 340))


def test_rare_classes_are_drawn_more_often_or_weighed_and_not_both():
    uneven = replace(BASKETBALL, class_counts=(100, 20, 10, 50, 46))
    assert choose(uneven, MACHINE, {}).values["balanced"] is True
    assert choose(uneven, MACHINE, {"class_weights": "none"}).values["balanced"] is True
    assert "balanced" not in choose(uneven, MACHINE, {"class_weights": "balanced"}).values


def test_few_short_wide_clips_get_steps_their_frames_and_the_whole_picture():
    choices = choose(BASKETBALL, MACHINE, {})
    assert choices.values == {
        "batch_size": 16,
        "epochs": 267,  # of 15 steps: 4,005
        "warmup_epochs": 21.4,
        "eval_every": 10,
        "lr": 5e-4,
        "ema": 0.9988,
        "arch": {"frames": 8, "drop_path": 0.2},
        "input": {"fit": "stretch", "crop": [48, 80], "antialias": True},
        "augment": {"flip": 0.5, "mixup": 0.8, "color": 0.4, "rotate": 15.0, "time_warp": 0.5},
        "report": "last",
        "precision": "auto",
        "workers": 1,
    }
    assert choices.lines == (
        HEADER,
        "  steps: 267 epochs of 15 steps of 16 videos, as few videos need as many steps as more do; evaluated every 10 "
        "epochs; lr 0.0005; weights averaged with a decay of 0.9988",
        "  clips: 8 frames, as the videos have 5 to 10 (median 7); the whole frame at 48 x 80 px, as a square would "
        "lose 44% of 90 x 160; smoothed while shrunk",
        "  changes: flips (--augment.flip 0 if left and right matter); strong ones (mixup 0.8, stochastic depth 0.2, "
        "turned by up to 15 degrees, at other paces), as each of the videos is seen 267 times",
        "  selection: the last epoch: too few videos to hold some out to choose by, and the validation part must not",
    )


def test_the_spoken_words_get_what_their_recipe_has_and_twice_the_steps():
    values = choose(WORDS, MACHINE, {}).values
    assert (values["batch_size"], values["epochs"], values["lr"], values["input"]["crop"]) == (32, 115, 1e-3, [32, 64])
    assert values["arch"] == {"frames": 16, "drop_path": 0.2}


def test_a_large_set_gets_30_epochs_mild_changes_and_a_part_to_choose_the_epoch_on():
    values = choose(KINETICS, MACHINE, {}).values
    assert (values["epochs"], values["eval_every"], values["augment"]["mixup"]) == (30, 1, 0.2)
    assert (values["select_fraction"], values["report"]) == (0.1, "best")
    assert values["input"]["decode_size"] == 96  # 256 px are 5 times the 48 of the clip


def test_no_start_is_chosen_as_it_serves_some_sets_only():
    assert all("init" not in choose(facts, MACHINE, {}).values for facts in (BASKETBALL, KINETICS))


def test_the_package_has_a_start_of_nano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert packaged_start() == "rendered"
    (tmp_path / "rendered").mkdir()
    (tmp_path / "rendered" / "config.json").touch()
    monkeypatch.chdir(tmp_path)
    assert packaged_start() is None


def test_weights_that_are_given_decide_on_the_clips_and_need_fewer_steps():
    choices = choose(BASKETBALL, MACHINE, {"init": "runs/mine/best"})
    assert "input" not in choices.values
    assert "frames" not in choices.values["arch"]
    assert "lr" not in choices.values
    assert choices.values["epochs"] == 67  # of 15 steps: 1,005
    assert choose(BASKETBALL, MACHINE, {"init": "none"}).values["epochs"] == 267


def test_short_runs_are_not_changed_strongly():
    values = choose(BASKETBALL, MACHINE, {"epochs": 12}).values
    assert "mixup" not in values["augment"]
    assert "drop_path" not in values["arch"]
    assert choose(BASKETBALL, MACHINE, {"epochs": 25}).values["augment"]["mixup"] == 0.2


def test_only_videos_are_turned_and_warped():
    pictures = replace(BASKETBALL, kind="image", num_frames=None)
    assert choose(pictures, MACHINE, {}).values["augment"] == {"flip": 0.5, "mixup": 0.8, "color": 0.4}


def test_classes_of_pace_keep_theirs():
    choices = choose(replace(BASKETBALL, classes=("bb", "running_fast")), MACHINE, {})
    assert (choices.values["augment"]["rotate"], choices.values["augment"]["time_warp"]) == (15.0, 0.0)
    assert "turned by up to 15 degrees, at their own pace, as running_fast tells of pace)" in choices.lines[3]


def test_windows_of_recordings_keep_their_middle():
    choices = choose(BASKETBALL, MACHINE, {"lists": {"window": 0.0}})
    assert choices.values["augment"]["time_warp"] == 0.0
    assert "at their own pace, as the middle of a window is what is named)" in choices.lines[3]


@pytest.mark.parametrize(
    ("num_frames", "pace"),
    [
        ((5, 15, 400), "at other paces)"),
        ((5, 16, 400), "at other paces)"),  # shown in 16 frames
        ((30, 32, 40), "at their own pace, as other frames are drawn each time from 32)"),
        (None, "at their own pace, as other frames are drawn each time)"),
    ],
)
def test_videos_of_many_frames_keep_their_pace(num_frames: tuple[int, int, int] | None, pace: str):
    choices = choose(replace(BASKETBALL, num_frames=num_frames), MACHINE, {})
    assert pace in next(line for line in choices.lines if line.startswith("  changes"))
    assert choices.values["augment"]["time_warp"] == (0.5 if "other paces" in pace else 0.0)


def test_classes_without_names_keep_their_pace_and_clips_of_consecutive_frames_are_warped_however_long():
    assert choose(replace(BASKETBALL, named=False), MACHINE, {}).values["augment"]["time_warp"] == 0.0
    long, dense = replace(BASKETBALL, num_frames=(60, 76, 90)), {"input": {"sampling": "dense"}}
    assert choose(long, MACHINE, dense).values["augment"]["time_warp"] == 0.5
    assert choose(long, MACHINE, {}).values["augment"]["time_warp"] == 0.0


def test_no_reason_is_told_for_what_was_given():
    given = {"augment": {"time_warp": 0.0}}
    changes = choose(replace(BASKETBALL, num_frames=(60, 76, 90)), MACHINE, given).lines[3]
    assert "turned by up to 15 degrees), as each" in changes


def test_changes_that_are_given_are_told_as_they_are():
    given = {"augment": {"mixup": 0.1, "rotate": 0.0, "time_warp": 0.2}, "arch": {"drop_path": 0.3}}
    choices = choose(replace(BASKETBALL, classes=("fast",)), MACHINE, given)
    assert choices.values["augment"] == {"flip": 0.5, "color": 0.4}
    assert "strong ones (mixup 0.1, stochastic depth 0.3, at other paces), as each" in choices.lines[3]


def test_a_probe_gets_clips_and_flips_and_nothing_that_is_of_steps():
    choices = choose(replace(BASKETBALL, class_counts=(200, 26)), MACHINE, {"probe": True})
    assert choices.values == {
        "arch": {"frames": 8},
        "input": {"fit": "stretch", "crop": [48, 80], "antialias": True},
        "augment": {"flip": 0.5},
        "report": "last",
        "precision": "auto",
        "workers": 1,
    }
    assert [line.split(":")[0] for line in choices.lines[1:-1]] == ["  clips", "  changes"]


def test_classes_of_unequal_size_are_drawn_equally_often():
    facts = SetFacts("video", 300, (250, 50), ("a", "bb"))
    assert choose(facts, MACHINE, {}).values["balanced"] is True
    assert "balanced" not in choose(SetFacts("video", 300, (249, 51), ("a", "bb")), MACHINE, {}).values


@pytest.mark.parametrize("names", [{"classes": ("turn clockwise", "x2")}, {"classes": ("0", "1"), "named": False}])
def test_what_a_mirror_changes_or_may_change_is_not_flipped(names: dict[str, Any]):
    choices = choose(SetFacts("video", 300, (150, 150), **names), MACHINE, {})
    assert choices.values["augment"]["flip"] == 0.0
    assert "no flips, as " in "".join(choices.lines)


def test_patience_is_for_the_best_epoch_and_says_where_its_figure_is_too_good():
    choices = choose(BASKETBALL, MACHINE, {"patience": 3})
    assert choices.values["report"] == "best"
    assert "a little too good" in choices.lines[-1]
    assert choose(KINETICS, MACHINE, {"patience": 3}).values["select_fraction"] == 0.1


def test_none_held_out_by_wish_is_as_none_held_out_by_choice():
    for facts in (BASKETBALL, KINETICS):
        choices = choose(facts, MACHINE, {"select_fraction": 0.0})
        assert choices.values["report"] == "last"
        assert "none are held out to choose by" in choices.lines[-1]
    assert "report" not in choose(BASKETBALL, MACHINE, {"select_fraction": 0.2}).values


def test_one_of_something_is_said_as_one():
    lines = "".join(choose(replace(BASKETBALL, num_samples=4, num_frames=(7, 7, 7)), MACHINE, {}).lines)
    assert "500 epochs of 1 step of 16 videos" in lines
    assert "as the videos have 7;" in lines


def test_pictures_of_different_shapes_are_cropped():
    values = choose(
        SetFacts("video", 226, (113, 113), ("a", "bb"), True, (9, 9, 9), (90, 160), False), MACHINE, {}
    ).values
    assert values["input"] == {"antialias": True}


def test_masks_keep_their_input_and_are_flipped():
    values = choose(SetFacts("mask", 367, classes=("road", "sky"), size=(240, 320)), MACHINE, {}).values
    assert (values["batch_size"], values["epochs"], values["lr"]) == (8, 44, 1e-3)
    assert values["augment"] == {"flip": 0.5, "color": 0.5}
    assert "input" not in values
    assert "arch" not in values


@st.composite
def facts(draw: st.DrawFn) -> SetFacts:
    counts = tuple(draw(st.lists(st.integers(1, 10_000), min_size=2, max_size=5)))
    lengths = sorted(draw(st.lists(st.integers(1, 5_000), min_size=3, max_size=3)))
    size = draw(st.tuples(st.integers(1, 4_000), st.integers(1, 4_000)) | st.none())
    kind = draw(st.sampled_from(["video", "image", "mask"]))
    names = tuple("abcde"[: len(counts)]) if draw(st.booleans()) else tuple(f"class {i}" for i in range(len(counts)))
    return SetFacts(
        kind,
        sum(counts),
        counts if kind != "mask" else (),
        names,
        draw(st.booleans()),
        (*lengths,),
        size,
        draw(st.booleans()),
    )


GIVEN: list[dict[str, Any]] = [
    {},
    {"epochs": 3, "batch_size": 4, "workers": 0},
    {"model": "morphmlp_video_s", "lr": 1e-4, "augment": {"flip": 0.1}},
    {"input": {"crop": [64, 64]}, "arch": {"frames": 12}},
    {"ema": 0.0, "report": "best", "precision": "fp32"},
    {"select_fraction": 0.25, "clip_grad": None},
    {"fsdp": True, "input": {"num_crops": 3}},
]


@given(facts(), st.sampled_from(GIVEN), st.integers(1, 64))
def test_any_set_gets_a_configuration_that_is_allowed_and_keeps_what_was_given(
    facts: SetFacts, given: dict[str, Any], cores: int
):
    if facts.kind != "video":
        given = {name: value for name, value in given.items() if name not in ("model", "arch")}
    choices = choose(facts, MachineFacts(cores), given)
    values = dict(choices.values)
    for name, value in given.items():
        assert name not in values or isinstance(value, dict)
        assert not isinstance(value, dict) or not set(value) & set(values.get(name, {}))
    image = {"morphmlp_video_nano": {}} if facts.kind == "video" else {"morphmlp_image_nano": {}}
    model = model_config(*image, **values.pop("arch", {}))
    InputConfig.from_dict({"crop": (model.image_size,) * 2} | values.pop("input", {}))
    AugmentConfig.from_dict(values.pop("augment"))
    settings = TrainConfig.from_dict(
        {name: value for name, value in (given | values).items() if name in TrainConfig.names()}
    )
    steps_per_epoch = -(-(facts.num_samples - int(settings.select_fraction * facts.num_samples)) // settings.batch_size)
    if "epochs" not in given:
        least = LEAST_STEPS[facts.kind]
        assert settings.epochs in range(30, MOST_EPOCHS + 1)
        assert settings.epochs == MOST_EPOCHS or settings.epochs * steps_per_epoch >= least
    assert settings.epochs // settings.eval_every <= 50
    assert len(choices.lines) <= 6
    assert not any("\n" in line for line in choices.lines)


@given(st.integers(1, 8_000), st.integers(1, 8_000), st.sampled_from([64, 224]))
def test_a_clip_has_the_shape_of_the_frame_and_no_more_pixels_than_a_square(height: int, width: int, side: int):
    clip = clip_size(height, width, side=side)
    assert min(clip) >= 32
    assert clip[0] * clip[1] <= side * side
    assert all(edge % (16 if side == 64 else 32) == 0 for edge in clip)
    assert (clip[0] < clip[1]) == (height < width) or clip[0] == clip[1] or 2 / 3 < height / width < 3 / 2
    assert clip_size(width, height, side=side)[::-1] == clip or height == width


@given(st.integers(1, 100_000), st.integers(2, 64))
def test_a_clip_has_no_more_frames_than_the_model_takes_and_not_many_twice(median: int, most: int):
    frames = clip_frames(median, most=most)
    assert 0 < frames <= most
    assert frames <= 4 or frames <= 1.6 * median


@given(st.integers(1, 10**7))
def test_averages_forget_faster_in_shorter_runs(steps: int):
    assert 0 <= ema_decay(steps) <= ema_decay(steps + 1) < 1
    assert ema_decay(steps) == 0 or 1 / (1 - ema_decay(steps)) <= max(steps / 2, 50)


def test_facts_of_a_set_are_those_of_its_files(data: Path):
    train, _ = read_training_sets(data)
    facts = set_facts(train)
    assert (facts.kind, facts.num_samples, facts.class_counts, facts.unit) == ("video", 20, (2,) * 10, "videos")
    assert facts.classes == tuple(train.classes)
    assert facts.named
    assert facts.alike
    assert facts.size == (80, 96)
    assert facts.num_frames is not None
    assert 20 <= facts.num_frames[0] <= facts.num_frames[1] <= facts.num_frames[2] <= 28


def test_a_file_that_cannot_be_read_is_no_fact(tmp_path: Path):
    for name in ("a", "b"):
        for number in range(3):
            path = tmp_path / "set" / name / f"{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"no video")
    facts = set_facts(read_training_sets(tmp_path / "set")[0])
    assert (facts.num_frames, facts.size) == (None, None)
    assert "input" not in choose(facts, MACHINE, {}).values


def test_of_large_files_fewer_are_looked_at(data: Path, monkeypatch: pytest.MonkeyPatch):
    looked_at = []
    monkeypatch.setattr(facts_module, "_num_bytes", lambda source: 200_000_000)
    monkeypatch.setattr(facts_module, "_info", looked_at.append)
    samples = read_training_sets(data)[0].samples
    assert facts_module._infos(samples) == []
    assert looked_at == [samples[i].path for i in range(0, 20, 2)]  # 2 GB are 10 of them


@pytest.mark.parametrize(
    "given",
    [
        {"select_fraction": 1.0},
        {"epochs": 0},
        {"batch_size": 0},
        {"arch": {"image_size": "x"}},
        {"arch": {"frames": "x"}},
        {"augment": {"rotate": "x", "time_warp": None}},
        {"model": "x"},
    ],
)
def test_what_is_not_allowed_is_left_for_the_configuration_to_name(given: dict[str, Any]):
    assert choose(BASKETBALL, MACHINE, given).values["precision"] == "auto"


SHORT = ["--arch.depths", "[1,1,1,1]", "--arch.widths", "[8,16,16,16]", "--arch.chunk_lengths", "[2,2,2,1]"]
SHORT += ["--arch.frames", "4", "--epochs", "1", "--precision", "auto"]


def test_a_run_says_what_was_chosen_keeps_it_and_does_not_choose_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tiny.stop_after(1, monkeypatch)
    stopped = tiny.run_command("train", data, "--out", tmp_path / "run", *SHORT)
    config = RunFolder(tmp_path / "run").read_config()
    assert stopped.returncode == 0
    assert HEADER in stopped.stderr
    assert config.chosen[0] == HEADER
    assert all(line.strip() in stopped.stderr for line in config.chosen)
    assert (config.input.fit, config.input.crop, config.train.batch_size) == ("stretch", (48, 64), 16)
    assert (config.train.epochs, config.model.frames) == (1, 4)  # as given
    assert config.train.precision in ("fp32", "bf16")

    resumed = tiny.run_command("train", "--out", tmp_path / "run", "--resume")
    assert resumed.returncode == 0
    assert HEADER not in resumed.stderr
    assert RunFolder(tmp_path / "run").read_config() == config
    assert "\nthe epoch was not chosen: it is the last one\n" in resumed.stdout


def config_of(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> RunConfig:
    """The configuration that `morphmlp train` would start."""
    configs = []

    def refused(config: RunConfig, *_: object, **__: object) -> None:
        configs.append(config)
        raise ConfigError("not trained")

    monkeypatch.setattr(training, "train", refused)
    tiny.run_command("train", *arguments, "--out", "nowhere")
    return configs[0]


@pytest.mark.parametrize("options", [["--defaults", "fixed"], ["--config", "{file}"], ["--recipe", "{file}"]])
def test_fixed_defaults_and_configurations_are_left_as_they_are(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
):
    file = tmp_path / "mine.yaml"
    file.write_text("lr: 0.0005\n")
    config = config_of(monkeypatch, data, *[option.format(file=file) for option in options])
    assert (config.train, config.chosen) == (TrainConfig(), ())
    assert (config.input.crop, config.model.frames) == ((64, 64), 16)


def test_given_options_win_over_what_is_chosen_field_by_field(data: Path, monkeypatch: pytest.MonkeyPatch):
    options = ["--augment.flip", "0.25", "--ema", "0", "--input.fit", "crop", "--init", "none", "--batch_size", "5"]
    config = config_of(monkeypatch, data, *options)
    assert (config.train.augment.flip, config.train.ema, config.train.batch_size) == (0.25, 0.0, 5)
    assert (config.input.fit, config.init) == ("crop", None)
    assert (config.train.augment.mixup, config.train.epochs) == (0.8, 500)  # chosen


# Classes of very few samples


@pytest.mark.parametrize(
    ("counts", "note"),
    [
        ({"running": 9, "runing": 1}, "learnt: runing (1); did you mean 'running' for 'runing'?"),
        ({"running": 2, "jumping": 4}, "few training videos, of which little can be learnt: jumping (4), running (2)"),
        (
            {"running": 3, "runing": 1, "waving": 1},
            "runing (1), running (3), waving (1); did you mean 'running' for 'runing'?",
        ),
        ({"class 1": 9, "class 2": 1}, "learnt: class 2 (1)"),
        ({"running": 5, "jumping": 5}, None),
        ({"running": 5, NOTHING: 1}, None),
    ],
)
def test_classes_with_too_few_samples_are_named_and_what_they_may_be_a_slip_for(
    counts: dict[str, int], note: str | None
):
    samples = [Sample(Path(f"{i}.mp4"), label) for label, count in enumerate(counts.values()) for i in range(count)]
    found = _rare_classes(LabelledSet(samples, list(counts)))
    assert found is None if note is None else str(found).endswith(note)


# The part that the epoch is chosen on


def test_a_run_that_is_stopped_and_resumed_chooses_the_same_epoch_on_the_same_part(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = tiny.run_config(data, select_fraction=0.3, epochs=3, ema=0.9)
    whole = training.train(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        tiny.stop_after(5, patch)
        with pytest.raises(training.Interrupted):
            training.train(config, tmp_path / "stopped")
    resumed = training.resume(tmp_path / "stopped")
    tiny.assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    assert (whole.num_train, whole.num_chosen_on, whole.num_val, whole.chosen_on) == (10, 10, 10, "select")
    assert (whole.best_score, whole.last_score, whole.best_epoch) == (
        resumed.best_score,
        resumed.last_score,
        resumed.best_epoch,
    )
    again = training.resume(tmp_path / "stopped")  # there is nothing left to train
    assert (again.best_score, again.selection) == (whole.best_score, whole.selection)
    assert tiny.read_log(tmp_path / "stopped")[-2:] == tiny.read_log(tmp_path / "whole")[-2:]


def test_the_figure_at_the_end_is_of_samples_that_chose_nothing(data: Path, tmp_path: Path):
    result = training.train(tiny.run_config(data, select_fraction=0.3), tmp_path / "run")
    evaluation = tiny.evaluate_checkpoint(result.best, data, workers=0)
    assert result.best_score == evaluation.accuracy() == result.evaluation.accuracy()
    assert evaluation.note == ""
    assert {p.path for p in result.evaluation.predictions} == {p.path for p in evaluation.predictions}
    assert result.selection == "the epoch was chosen on 10 other videos"
    assert "evaluation" not in result.to_dict()
    summary = load_config(result.best)[1].training
    assert (summary["val_top1"], summary["val_videos"], summary["select_videos"]) == (result.best_score, 10, 10)
    logged = {name for line in tiny.read_log(tmp_path / "run") for name in line if name.endswith("top1")}
    assert logged == {"select_top1", "val_top1"}


def test_without_such_a_part_the_output_says_that_the_validation_part_chose(data: Path, tmp_path: Path):
    result = training.train(tiny.run_config(data), tmp_path / "run")
    assert (result.chosen_on, result.num_chosen_on) == ("val", 10)
    assert result.selection == "the epoch was chosen on these videos, so the figure is a little too good"
    assert result.evaluation.accuracy() == result.best_score
    best, last = (tiny.evaluate_checkpoint(folder, data, workers=0) for folder in (result.best, result.last))
    assert best.note == "the epoch of this checkpoint was chosen on these videos, so the figures are a little too good"
    assert last.note == ""
    assert tiny.evaluate_checkpoint(result.best, data, split="train", workers=0).note == ""


def test_the_part_has_whole_groups_of_every_class(data: Path):
    train, _ = read_training_sets(data)
    twice = replace(train, samples=[s for s in train.samples for s in (s, replace(s, path=Stretch(s.path, 0, 1)))])
    config = tiny.run_config(data, select_fraction=0.2)
    kept, held_out = held_out_to_select(twice, [sample.label for sample in twice.samples], config)
    files = [{os.path.basename(s.path) for s in part.samples} for part in (kept, held_out)]
    assert not files[0] & files[1]
    assert len(files[0] | files[1]) == 20
    assert {s.label for s in held_out.samples} == {s.label for s in kept.samples} == set(range(10))


def test_a_part_that_cannot_be_held_out_is_one_clear_line(data: Path):
    train, _ = read_training_sets(data)
    single = replace(train, samples=[train.samples[0], train.samples[-1]])
    with pytest.raises(
        ConfigError, match=r"nothing can be held out.*each of its 2 videos has a class.*--select_fraction 0"
    ):
        held_out_to_select(single, [0, 1], tiny.run_config(data, select_fraction=0.2))


def test_patience_ends_a_run_that_gains_nothing_and_a_resumed_one_stays_ended(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    settings = {"epochs": 9, "lr": 1e-9, "min_lr": 0.0, "patience": 2}
    result = training.train(tiny.run_config(data, **settings), tmp_path / "run")
    assert result.last_epoch == result.best_epoch + 2 < 9  # whose norms alone still change
    assert replace(result, report="last").selection.startswith("the epoch was chosen on these videos")  # its end was
    assert (
        f"ends after epoch {result.last_epoch} of 9, as the last 2 evaluations found no better one"
        in capsys.readouterr().err
    )
    for checkpoint in (result.best, result.last):
        assert "was chosen on these videos" in tiny.evaluate_checkpoint(checkpoint, data, workers=0).note
    log = tiny.read_log(tmp_path / "run")
    assert training.resume(tmp_path / "run").last_epoch == result.last_epoch
    assert tiny.read_log(tmp_path / "run") == log
