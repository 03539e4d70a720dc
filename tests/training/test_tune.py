"""A sweep: never on the validation part, kept when it is stopped, and a training with the best at its end."""

import json
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from morphmlp.config import RunConfig
from morphmlp.data.sets.read import read_training_sets
from morphmlp.errors import CheckpointError, ConfigError, DataError, NotFiniteError
from morphmlp.training import tune
from morphmlp.training.halving import Candidate, Space
from morphmlp.training.run import Interrupted, TrainResult
from morphmlp.training.run_folder import RunFolder
from morphmlp.training.sweep import Sweep, conclusion


class Trainings:
    """In the place of `train`: scores by what is tried, on a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, epoch_s: float = 1.0):
        self.calls: list[tuple[RunConfig, Path, Any]] = []
        self.now_s, self.epoch_s = 0.0, epoch_s
        self.slower = 1.0  # each training by this factor than the one before
        self.lasted_s: list[float] = []
        self.stop_at: int | None = None
        monkeypatch.setattr(tune, "train", self)
        monkeypatch.setattr(tune.time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(tune, "read_log", lambda _: [{"val_loss": 1.0}])

    def __call__(self, config: RunConfig, out: Path, *, sets: Any) -> TrainResult:
        if len(self.calls) + 1 == self.stop_at:
            self.stop_at = None
            raise Interrupted(signal.SIGINT, out)
        self.calls.append((config, out, sets))
        train = config.train
        epochs = 0 if train.probe else train.epochs
        self.epoch_s *= self.slower
        self.lasted_s.append(1.0 + epochs * self.epoch_s)
        self.now_s += self.lasted_s[-1]
        if train.lr > 1e-3 and not train.probe:
            raise NotFiniteError("the loss is nan")
        score = {"good": 0.6, "bad": 0.4, None: 0.2}[config.init] + 0.1 * (train.augment.erase > 0)
        return TrainResult(
            best=out / "best",
            metric="top1",
            best_score=score,
            best_epoch=1,
            last=out / "last",
            last_score=score,
            last_epoch=1,
            report="last",
            unit="videos",
            num_train=1,
            num_val=1,
            chosen_on="val",
            num_chosen_on=1,
            clips_per_s=1.0,
            device_hours=epochs * self.epoch_s / 3600,
        )

    @property
    def trials(self) -> list[RunConfig]:
        return [config for config, out, _ in self.calls if out.name == "current"]


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    return Trainings(monkeypatch)


SPACE = Space(("bad", "good", None))


def sweep(data: Path, out: Path, *, minutes: float = 10.0, space: Space = SPACE, **settings: Any) -> TrainResult:
    config = tiny.run_config(data, epochs=200, lr=6e-4, ema=0.5, **settings)
    return tune.tune(config, out, minutes=minutes, space=space, sets=read_training_sets(data))


def test_the_training_at_the_end_is_with_the_best_on_all_training_samples(
    data: Path, tmp_path: Path, trainings: Trainings
):
    sweep(data, tmp_path / "run")
    config, out, sets = trainings.calls[-1]
    assert out == tmp_path / "run"
    assert (config.init, config.train.augment.erase, config.train.epochs, config.train.ema) == ("good", 0.25, 200, 0.5)
    assert [len(part.samples) for part in sets] == [20, 10]
    found = json.loads((tmp_path / "run" / "tune.json").read_text())
    assert found["chosen"] == {"start": "good", "lr": config.train.lr, "strength": "strong"}


def test_no_trial_sees_the_validation_part(data: Path, tmp_path: Path, trainings: Trainings):
    sweep(data, tmp_path / "run")
    train, val = read_training_sets(data)
    for _, out, (fitted, held_out) in trainings.calls[:-1]:
        assert out.name == "current"
        used = {s.path for s in (*fitted.samples, *held_out.samples)}
        assert used == {s.path for s in train.samples}
        assert not used & {s.path for s in val.samples}
        assert not {s.path for s in fitted.samples} & {s.path for s in held_out.samples}


def test_probes_choose_the_start_and_each_rung_has_a_third_of_the_candidates(
    data: Path, tmp_path: Path, trainings: Trainings
):
    sweep(data, tmp_path / "run")
    probes = [config.init for config in trainings.trials if config.train.probe]
    assert probes == ["bad", "good"]
    trained = [config for config in trainings.trials if not config.train.probe]
    assert {config.init for config in trained} == {"good", None}
    assert all(config.train.eval_every == config.train.epochs and not config.train.ema for config in trained)
    rungs = [config.train.epochs for config in trained[1:]]  # the first one measures the time
    assert sorted(set(rungs)) == list(dict.fromkeys(rungs))  # more epochs in each rung
    counts = [rungs.count(epochs) for epochs in dict.fromkeys(rungs)]
    assert counts[0] > 3
    assert counts[1] == -(-counts[0] // 3)


def test_the_sweep_keeps_to_its_time(data: Path, tmp_path: Path, trainings: Trainings):
    sweep(data, tmp_path / "run", minutes=10)
    spent = sum(1.0 + (0 if c.train.probe else c.train.epochs) for c in trainings.trials)
    assert 300 < spent <= 600


def test_no_trial_is_begun_that_would_not_end_in_time(
    data: Path, tmp_path: Path, trainings: Trainings, capsys: pytest.CaptureFixture[str]
):
    """Each takes 15 % longer than the slowest before it, and so may the last one, but no more."""
    trainings.slower = 1.15
    sweep(data, tmp_path / "run", minutes=4)
    *trials, _ = trainings.lasted_s
    assert 180 < sum(trials) < 240 + 0.15 * trials[-1]
    assert re.search(
        r"left out: good, lr .* epochs, which would take \d+ s of the \d+ s that are", capsys.readouterr().err
    )


def test_a_training_that_diverges_is_the_worst(data: Path, tmp_path: Path, trainings: Trainings):
    sweep(data, tmp_path / "run")
    trials = json.loads((tmp_path / "run" / "tune.json").read_text())["trials"]
    diverged = [trial for trial in trials if trial["candidate"]["lr"] > 1e-3 and trial["epochs"]]
    assert diverged
    assert {(trial["score"], trial["loss"]) for trial in diverged} == {(0.0, None)}
    assert not [trial for trial in diverged if trial["rung"] > 1]


@pytest.mark.parametrize("init", ["good", None])
def test_too_short_a_time_trains_as_configured(init: str | None, data: Path, tmp_path: Path, trainings: Trainings):
    """One training beside nothing tells nothing, and the first one is of a start that was not asked for."""
    sweep(data, tmp_path / "run", minutes=0.01, init=init, space=Space(("good", None)))
    assert len(trainings.trials) == 1
    assert trainings.trials[0].init == "good"
    config = trainings.calls[-1][0]
    assert (config.init, config.train.lr) == (init, 6e-4)
    assert config.chosen[-1].startswith(
        "not tuned: 0.01 minutes are too few to compare two candidates; as configured: "
    )


def test_where_only_the_start_is_to_be_chosen_the_probes_choose_it(data: Path, tmp_path: Path, trainings: Trainings):
    sweep(data, tmp_path / "run", init="bad", space=Space(("bad", "good"), lr=False, strength=False))
    config = trainings.calls[-1][0]
    assert config.init == "good"
    assert config.chosen[-1].startswith("tuned: good, ")


def test_a_choice_of_an_earlier_version_is_told_as_the_one_that_is_taken(
    data: Path, tmp_path: Path, trainings: Trainings
):
    """It could come of one training alone."""
    config = replace(tiny.run_config(data, lr=6e-4), init="bad")
    known = Sweep(config, 1.0, SPACE, chosen=Candidate("good", 6e-4))
    assert conclusion(known).startswith("tuned: good, ")


def test_a_stopped_sweep_says_what_is_known_and_does_no_trial_twice(
    data: Path, tmp_path: Path, trainings: Trainings, capsys: pytest.CaptureFixture[str]
):
    sweep(data, tmp_path / "whole")
    whole = [config.to_dict() for config in trainings.trials]
    trainings.calls.clear()
    trainings.stop_at = 6
    with pytest.raises(Interrupted, match=r"go on with: morphmlp train --out .*stopped --resume"):
        sweep(data, tmp_path / "stopped")
    assert "5 trials are done and kept in" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="holds trials of --tune already: --resume goes on"):
        sweep(data, tmp_path / "stopped")
    assert tune.holds_tuning(tmp_path / "stopped")
    tune.resume_tuning(tmp_path / "stopped")
    assert [config.to_dict() for config in trainings.trials] == whole
    assert trainings.calls[-1][1] == tmp_path / "stopped"


def test_a_sweep_that_is_stopped_in_its_first_trial_can_be_gone_on_with(
    data: Path, tmp_path: Path, trainings: Trainings
):
    trainings.stop_at = 1
    with pytest.raises(Interrupted, match=r"go on with: morphmlp train --out .*run --resume"):
        sweep(data, tmp_path / "run")
    assert tune.holds_tuning(tmp_path / "run")
    tune.resume_tuning(tmp_path / "run")
    assert trainings.calls[-1][1] == tmp_path / "run"


def test_a_set_that_has_changed_since_the_trials_is_refused(data: Path, tmp_path: Path, trainings: Trainings):
    """What is held out of it is drawn otherwise; trials on other samples tell nothing of one another."""
    copy = tiny.copy_data(data, tmp_path / "set", classes=3)
    trainings.stop_at = 3
    with pytest.raises(Interrupted):
        sweep(copy, tmp_path / "run")
    sorted((copy / "train").rglob("*.mp4"))[0].unlink()
    with pytest.raises(DataError, match=r"what is in .*set has changed since the trials in .*run were begun"):
        tune.resume_tuning(tmp_path / "run")


def test_a_sweep_that_fails_in_its_first_trial_leaves_nothing(
    data: Path, tmp_path: Path, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
):
    def disk_is_full(config: RunConfig, out: Path, **options: Any) -> None:
        raise OSError(28, "No space left on device", str(out))

    monkeypatch.setattr(tune, "train", disk_is_full)
    with pytest.raises(OSError, match="No space left on device"):
        sweep(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_trial_that_measures_the_time_counts_once(
    data: Path, tmp_path: Path, trainings: Trainings, capsys: pytest.CaptureFixture[str]
):
    """In a short time it has the epochs of the first rung, and is a trial of that too."""
    trainings.stop_at = 5
    with pytest.raises(Interrupted):
        sweep(data, tmp_path / "run", minutes=1.5)
    said = capsys.readouterr().err
    numbers = [line.split(":")[0] for line in said.splitlines() if line.startswith("trial ")]
    assert numbers == ["trial 1", "trial 2", "trial 3", "trial 4"]
    assert "4 trials are done and kept in" in said
    rungs = [trial["rung"] for trial in json.loads((tmp_path / "run" / "tune.json").read_text())["trials"]]
    assert rungs == [0, 0, 0, 1, 1]


def test_samples_that_are_all_of_one_group_cannot_be_swept(data: Path, tmp_path: Path, trainings: Trainings):
    config = tiny.run_config(data)
    config = replace(config, split=replace(config.split, group_pattern="mp4"))
    with pytest.raises(ConfigError, match="--tune holds out a part of the training videos, but each of the groups has"):
        tune.tune(config, tmp_path / "run", minutes=1, space=SPACE, sets=read_training_sets(data))
    assert not (tmp_path / "run").exists()


def test_a_damaged_file_is_named(tmp_path: Path):
    (tmp_path / "tune.json").write_text('{"config": {}}')
    with pytest.raises(CheckpointError, match=r"tune\.json is damaged .*--overwrite"):
        tune.resume_tuning(tmp_path)


def test_the_command_tunes_and_trains(data: Path, checkpoint: Path, tmp_path: Path):
    copy, out = tiny.copy_data(data, tmp_path / "set", classes=3), tmp_path / "run"
    options = ["--init", checkpoint, "--epochs", "1", "--batch-size", "4", "--workers", "0", "--out", out]
    ended = tiny.run_command("train", copy, "--tune", "5", "--lr", "6e-4", *options)  # six candidates: a few seconds
    assert ended.returncode == 0, ended.stderr
    assert "Trials" in ended.stdout
    assert "probe" in ended.stdout
    assert "checkpoint: " in ended.stdout
    assert "trials on samples held out of the training part" in ended.stderr
    found = json.loads((out / "tune.json").read_text())
    assert found["trials"][0]["epochs"] == 0
    config = RunFolder(out).read_config()
    assert config.chosen[-1].startswith("tuned: ")
    assert (config.init, config.train.lr) == (found["chosen"]["start"], found["chosen"]["lr"])
    assert not (out / "trials").exists()


def test_what_is_given_is_not_varied_and_all_given_is_refused(data: Path, checkpoint: Path, tmp_path: Path):
    options = ["--init", checkpoint, "--freeze", "2", "--lr", "1e-3", "--augment.color", "0.1", "--out", tmp_path / "r"]
    ended = tiny.run_command("train", data, "--tune", "1", *options)
    assert ended.returncode == 1
    assert "--tune has nothing to choose: the learning rate, the augmentation and the start are given" in ended.stderr
    ended = tiny.run_command("train", data, "--tune", "1", "--folds", "2", *options)
    assert ended.returncode == 1
    assert "--folds and --tune: what is chosen would be chosen in each fold anew; give one of them" in ended.stderr
