"""`train --tune MINUTES`: which start, learning rate and strength of augmentation serve a data set best.

Nothing is chosen on the validation part. A part of the training samples is held out, in whole groups; short trainings
on the rest are compared on it, see `halving`. Starts are compared by linear probes before that, which take seconds, and
only the best of them goes on. The training that follows has all training samples again.

`tune.json` in the folder of the run has all trials; a trial that is in it is not done again.
"""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

from morphmlp.config import RunConfig
from morphmlp.data.sets.folds import require_one_label
from morphmlp.data.sets.labelled import LabelledSet
from morphmlp.data.sets.splits import groups_of, hold_out, without_and_with
from morphmlp.display.curves import read_log
from morphmlp.distributed import world_size
from morphmlp.errors import CheckpointError, ConfigError, DataError, NotFiniteError, UserError
from morphmlp.files import read_text, replace_json
from morphmlp.output import tell
from morphmlp.signals import Terminated
from morphmlp.tasks.selection import what_is_held_out
from morphmlp.training.halving import (
    Candidate,
    Space,
    Trial,
    best_of,
    epochs_of_rung,
    num_affordable,
    num_rungs,
)
from morphmlp.training.run import Interrupted, TrainingSets, TrainResult, names_of, read_sets, refuse_inside, train
from morphmlp.training.run_folder import RunFolder
from morphmlp.training.stopping import resume_command
from morphmlp.training.sweep import Sweep, conclusion, trial_table

HELD_OUT = 0.2  # of the training samples
MOST_SAMPLES = 4_000  # that a trial trains on
LEAST_STEPS = 60  # of a trial
PLANNED = 0.9  # of the time that is left: one trial takes longer than another
# Of all trials: their last epoch counts, as it is.
UNTUNED: dict[str, Any] = {"ema": 0.0, "ema_aside": False, "report": "last", "trackers": (), "save_every": 0}
UNTUNED |= {"select_fraction": 0.0, "patience": None}


def tune(
    config: RunConfig,
    out: str | Path,
    *,
    minutes: float,
    space: Space,
    sets: TrainingSets,
    overwrite: bool = False,
    show: Callable[[list[Any]], None] = lambda tables: None,
) -> TrainResult:
    """Tries for so many minutes, then trains as was best, with all training samples; the training's time comes on top.

    Args:
        show: is given the table of the trials before the training begins.

    Raises:
        UserError: data, configuration or folder cannot be used.
        Interrupted: after Ctrl-C or SIGTERM; the trials that are done are kept.
    """
    _require_possible(config, sets)
    refuse_inside(config.data, out)
    folder = RunFolder(out)
    with folder.locked():
        folder.check(overwrite=overwrite)
        if folder.tuning.is_file() and not overwrite:
            raise ConfigError(
                f"{out} holds trials of --tune already: --resume goes on with them, --overwrite starts anew, or choose "
                "another --out"
            )
        folder.clear()
    return _tune(Sweep(config, minutes, space, samples=names_of(config, sets)), folder, sets, show)


def holds_tuning(out: str | Path) -> bool:
    """Whether a folder has a sweep after which the training has not begun."""
    folder = RunFolder(out)
    return folder.tuning.is_file() and not folder.config.is_file()


def resume_tuning(out: str | Path, *, show: Callable[[list[Any]], None] = lambda tables: None) -> TrainResult:
    """Goes on with a sweep that was stopped; trials that are done are not done again.

    Raises:
        CheckpointError: `tune.json` is damaged.
    """
    folder = RunFolder(out)
    try:
        sweep = Sweep.from_dict(json.loads(read_text(folder.tuning)))
    except (ValueError, KeyError, TypeError) as error:  # ConfigError is a ValueError
        raise CheckpointError(f"{folder.tuning} is damaged ({error}); start anew with --overwrite") from None
    sets = read_sets(sweep.config)
    _require_possible(sweep.config, sets)
    if sweep.samples not in (None, names_of(sweep.config, sets)):
        raise DataError(
            f"what is in {sweep.config.data} has changed since the trials in {out} were begun, so that they cannot be "
            "compared; restore it and go on with --resume, or start anew with --overwrite"
        )
    return _tune(sweep, folder, sets, show)


def _require_possible(config: RunConfig, sets: TrainingSets) -> None:
    if not isinstance(sets[0], LabelledSet):
        raise ConfigError(f"--tune is for classifiers, and {config.data} is for {config.model.task}: leave it out")
    require_one_label(sets[0].samples, option="--tune")
    if world_size() > 1:
        raise ConfigError("--tune runs in one process; give what it finds in tune.json to the training under torchrun")
    if config.train.probe:
        raise ConfigError("--tune and --probe: a probe has no learning rate to choose; give one of them")


def _tune(sweep: Sweep, folder: RunFolder, sets: TrainingSets, show: Callable[[list[Any]], None]) -> TrainResult:
    if sweep.chosen is None:
        with folder.locked(), _known_so_far(sweep, folder), _discarded_if_empty(sweep, folder):
            trials = _Trials(sweep, folder, _divided(sweep.config, sets))
            replace_json(folder.tuning, sweep.to_dict())
            _search(sweep, trials)
            sweep.chosen = sweep.configured if sweep.best is None else sweep.best.candidate
            replace_json(folder.tuning, sweep.to_dict())
        shutil.rmtree(folder.trials, ignore_errors=True)
    show([trial_table(sweep)])
    config = sweep.chosen.configured(sweep.config)
    return train(replace(config, chosen=(*config.chosen, conclusion(sweep))), folder.path, sets=sets)


@contextmanager
def _known_so_far(sweep: Sweep, folder: RunFolder) -> Iterator[None]:
    """Says at Ctrl-C what is known, and how to go on."""
    try:
        yield
    except (KeyboardInterrupt, Terminated, Interrupted) as stop:
        best = sweep.best
        so_far = "" if best is None else f"; the best so far: {best.candidate.describe()} ({best.score:.3f})"
        tell(f"{sweep.num_done} trials are done and kept in {folder.tuning}{so_far}")
        if isinstance(stop, Interrupted):
            raise Interrupted(stop.signal_number, folder.path) from None
        tell(f"go on with: {resume_command(folder.path)}")
        raise


@contextmanager
def _discarded_if_empty(sweep: Sweep, folder: RunFolder) -> Iterator[None]:
    """A sweep that fails before its first trial is done leaves nothing."""
    try:
        yield
    except (UserError, OSError):
        if not sweep.trials:
            folder.tuning.unlink(missing_ok=True)
            shutil.rmtree(folder.trials, ignore_errors=True)
        raise


def _divided(config: RunConfig, sets: TrainingSets) -> tuple[LabelledSet, LabelledSet]:
    """The training part without what is held out, at most `MOST_SAMPLES`, and that.

    Raises:
        ConfigError: nothing can be held out.
    """
    whole = sets[0]
    assert isinstance(whole, LabelledSet)

    def drawn(samples: Sequence[Any], fraction: float) -> set[int]:
        groups = groups_of(samples, config.split)
        return hold_out([s.label for s in samples], groups, fraction=fraction, seed=config.split.seed)

    held_out = drawn(whole.samples, HELD_OUT)
    if not held_out:
        what = what_is_held_out(groups_of(whole.samples, config.split), whole.unit)
        raise ConfigError(
            f"--tune holds out a part of the training {whole.unit}, but each of the {what} has a class that no other "
            f"has; add {whole.unit}, or leave --tune out"
        )
    rest, held = without_and_with(whole, {whole.samples[i].path for i in held_out})
    if len(rest.samples) > MOST_SAMPLES:
        few = drawn(rest.samples, MOST_SAMPLES / len(rest.samples))
        rest = without_and_with(rest, {rest.samples[i].path for i in few})[1] if few else rest
    return replace(rest, note=""), replace(held, note="")


def _search(sweep: Sweep, trials: "_Trials") -> None:
    """Fills `sweep.trials` until its time is over, or one candidate is left."""
    starts = _best_starts(sweep, trials)
    candidates = sweep.space.candidates(starts, sweep.config.train.lr)
    least = max(math.ceil(LEAST_STEPS / trials.steps_per_epoch), 1)
    timed = trials.tried(0, candidates[0], min(least, sweep.config.train.epochs))
    if timed is None:
        return
    if sweep.num_candidates is None:
        sweep.num_candidates = num_affordable(
            len(candidates), seconds=PLANNED * sweep.seconds_left, cost=sweep.cost, least_epochs=timed.epochs
        )
    rungs = num_rungs(sweep.num_candidates)
    left = candidates[: sweep.num_candidates]
    for rung in range(1, rungs + 1):
        epochs = sweep.epochs.setdefault(
            str(rung),
            epochs_of_rung(
                len(left),
                seconds=PLANNED * sweep.seconds_left,
                rungs_left=rungs - rung + 1,
                cost=sweep.cost,
                least_epochs=timed.epochs,
                most_epochs=sweep.config.train.epochs,
            ),
        )
        for candidate in left:
            if trials.tried(rung, candidate, epochs) is None:
                return
        left = [trial.candidate for trial in best_of(sweep.rung(rung))]


def _best_starts(sweep: Sweep, trials: "_Trials") -> list[str | None]:
    """The start whose linear probe is best, and fresh weights where they are in the space."""
    with_weights = [start for start in sweep.space.starts if start is not None]
    probes = [trials.tried(0, Candidate(start, sweep.config.train.lr), 0) for start in with_weights]
    found = [trial for trial in probes if trial is not None]
    best = [max(found, key=lambda trial: trial.rank).candidate.start] if found else with_weights[:1]
    return [*best, *([None] if None in sweep.space.starts else [])]


class _Trials:
    """Does trials, and keeps what came out."""

    def __init__(self, sweep: Sweep, folder: RunFolder, parts: tuple[LabelledSet, LabelledSet]):
        self.sweep, self.folder, self.parts = sweep, folder, parts
        self.steps_per_epoch = math.ceil(len(parts[0].samples) / sweep.config.train.batch_size)

    def tried(self, rung: int, candidate: Candidate, epochs: int) -> Trial | None:
        """The trial, which is done now if it is not done yet; None where it would not end within the time."""
        same = [trial for trial in self.sweep.trials if (trial.candidate, trial.epochs) == (candidate, epochs)]
        for trial in same:
            if trial.rung == rung:
                return trial
        if same:  # the one that measured the time has as many epochs as the first rung
            self.sweep.trials.append(replace(same[0], rung=rung, seconds=0.0))
            return self.sweep.trials[-1]
        what = f"{candidate.describe()}, {epochs} epochs" if epochs else f"{candidate.start}, linear probe"
        predicted_s, left_s = self.sweep.predicted_s(epochs), self.sweep.seconds_left
        if predicted_s >= left_s:
            if left_s > 0:
                tell(f"left out: {what}, which would take {predicted_s:.0f} s of the {left_s:.0f} s that are left")
            return None
        trial, num_held_out = self._done(rung, candidate, epochs)
        self.sweep.trials.append(trial)
        replace_json(self.folder.tuning, self.sweep.to_dict())
        of = f"{num_held_out} held-out {self.parts[1].unit}"
        tell(
            f"trial {self.sweep.num_done}: {what}: {trial.score:.3f} of {of} are right "
            f"({trial.seconds:.0f} s, {max(self.sweep.seconds_left, 0) / 60:.1f} minutes left)"
        )
        return trial

    def _done(self, rung: int, candidate: Candidate, epochs: int) -> tuple[Trial, int]:
        """The trial, and how many held-out samples could be read."""
        started = time.monotonic()
        place = self.folder.trials / "current"
        shutil.rmtree(place, ignore_errors=True)
        self.folder.trials.mkdir(parents=True, exist_ok=True)
        config = self._config(candidate, epochs)
        score, loss, training_s, num_held_out = 0.0, math.inf, 0.0, len(self.parts[1].samples)
        with open(self.folder.trials / "log.txt", "a", encoding="utf-8") as log, redirect_stderr(log):
            try:
                result = train(config, place, sets=self.parts)
                score, training_s = result.last_score or 0.0, 3600 * result.device_hours
                num_held_out = result.num_val
                loss = next(line["val_loss"] for line in reversed(read_log(place / "log.jsonl")) if "val_loss" in line)
            except NotFiniteError:  # diverged: the worst there is
                training_s = time.monotonic() - started
        shutil.rmtree(place, ignore_errors=True)
        return Trial(rung, candidate, epochs, score, loss, time.monotonic() - started, training_s), num_held_out

    def _config(self, candidate: Candidate, epochs: int) -> RunConfig:
        """A run of so many epochs with a schedule of its own, evaluated at its end; or a probe."""
        config = candidate.configured(self.sweep.config)
        train = config.train
        if not epochs:
            return replace(config, train=replace(train, **UNTUNED, probe=True, freeze=None))
        warmup = train.warmup_epochs * epochs / train.epochs
        changes = {"epochs": epochs, "eval_every": epochs, "warmup_epochs": warmup}
        return replace(config, train=replace(train, **UNTUNED, **changes))
