"""Training a model on a data set: a new run in its folder, or a stopped one that goes on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from torch import distributed

from morphmlp.config import RunConfig
from morphmlp.data.media.limits import set_most_damage
from morphmlp.data.media.remote import remote_file
from morphmlp.distributed import agreed, is_main, join_processes, world_size
from morphmlp.errors import ConfigError, DataError, NotFiniteError, UserError
from morphmlp.inference.device import native_precision, resolve_device
from morphmlp.models.zoo import build_model
from morphmlp.tasks.registry import TASKS
from morphmlp.tasks.task import EvaluatedPart, TrainingSet
from morphmlp.training.environment import describe_environment
from morphmlp.training.initial_weights import initial_model
from morphmlp.training.run_folder import RunFolder
from morphmlp.training.stopping import Interrupted, LostProcessError
from morphmlp.training.trackers import require_trackers
from morphmlp.training.trainer import Trainer

__all__ = ["Interrupted", "LostProcessError", "NotFiniteError", "TrainResult", "resume", "train"]

TrainingSets = tuple[TrainingSet, TrainingSet]  # the training and the validation part


@dataclass(frozen=True)
class TrainResult:
    """How a run ended; `best` is the checkpoint of the epoch with the highest `metric`, such as "top1".

    `report` says which of `best` and `last` the run is for, see `TrainConfig`. `last_score` is None where the run was
    finished by a version that did not keep it. Both scores are on the validation part, whose samples that could not be
    read `num_val` leaves out. `chosen_on` is the part that the best epoch was chosen on: "select", of `num_chosen_on`
    samples that were held out of the training, or "val" itself, on which its score is then a little too good.
    `ended_early` says that `patience` ended the run, which looks at that part too.
    `evaluation` is that of the reported checkpoint on the validation part, as the task has it, such as an `Evaluation`;
    None where a run was resumed after it. `train_set` is the training part, with what was held out of it to select on.
    `device_hours` is the time of the training steps, evaluations left out, times the processes: GPU hours where each
    has a GPU.
    """

    best: Path
    metric: str
    best_score: float
    best_epoch: int
    last: Path
    last_score: float | None
    last_epoch: int
    report: str
    unit: str
    num_train: int
    num_val: int
    chosen_on: EvaluatedPart
    num_chosen_on: int
    clips_per_s: float
    device_hours: float
    ended_early: bool = False
    evaluation: Any = field(default=None, repr=False, compare=False)
    train_set: TrainingSet | None = field(default=None, repr=False, compare=False)

    @property
    def selection(self) -> str:
        """How much the figure of the reported checkpoint can be trusted: whether its samples chose the epoch."""
        if self.report == "last" and not self.ended_early:
            return "the epoch was not chosen: it is the last one"
        if self.chosen_on == "val":
            return f"the epoch was chosen on these {self.unit}, so the figure is a little too good"
        return f"the epoch was chosen on {self.num_chosen_on} other {self.unit}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; without the predictions of the evaluation."""
        values = {
            item.name: getattr(self, item.name) for item in fields(self) if item.name not in ("evaluation", "train_set")
        }
        return values | {"best": str(self.best), "last": str(self.last)}


def train(
    config: RunConfig, out: str | Path, *, overwrite: bool = False, sets: TrainingSets | None = None
) -> TrainResult:
    """Starts a run in a new folder; `sets` are the samples of `config.data` where they have been read already.

    Under torchrun every process calls it alike, and gets the same result.

    Raises:
        UserError: data, configuration or folder cannot be used; the run leaves nothing then.
        NotFiniteError: the loss, its gradient, or an output in an evaluation is NaN or infinite.
        LostProcessError: a decoding process, or another process of the run, ended.
        Interrupted: after Ctrl-C or SIGTERM; the state is saved.
    """
    folder = RunFolder(out)
    require_trackers(config.train.trackers)
    set_most_damage(config.train.max_damage)
    refuse_inside(config.data, out)
    with _taken(folder):
        if is_main():
            folder.check(overwrite=overwrite)
        join_processes(cpu=resolve_device(config.train.device).type == "cpu")
        sets = sets or read_sets(config)
        config = _with_precision(config)
        config = TASKS[config.model.task].completed(config, sets)
        return _start(config, folder, sets, overwrite=overwrite)


def refuse_inside(data: str, out: str | Path) -> None:
    """Raises ConfigError where the folder of a run would be one of the data's."""
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(data)):
        raise ConfigError(f"{out} lies in the folder of data, {data}; choose another --out")


def resume(out: str | Path) -> TrainResult:
    """Goes on with a stopped run, under the configuration that it was started with.

    Raises:
        UserError: there is no run, its state is damaged, or its data has changed.
    """
    folder = RunFolder(out)
    config = folder.read_config()
    require_trackers(config.train.trackers)
    set_most_damage(config.train.max_damage)
    with _taken(folder):
        if is_main():
            folder.clear_leftovers()
        join_processes(cpu=resolve_device(config.train.device).type == "cpu")
        if not Path(config.data).exists() and not remote_file(config.data):
            raise DataError(f"the run's data, {config.data}, is no longer there; put it back, or link it to that place")
        sets = read_sets(config)
        if not agreed(folder.has_state):  # stopped before the first save
            return _start(config, folder, sets, overwrite=True)
        task = TASKS[config.model.task].for_training(config, sets)
        trainer = Trainer(config, folder, task, build_model(config.model))
        notes = trainer.load_state()
        if is_main() and not trainer.is_over:
            folder.note_start(describe_environment(num_processes=world_size()))
        return _finished(trainer, notes, sets[0])


def read_sets(config: RunConfig) -> TrainingSets:
    """The samples of `config.data`, as the task of the run reads them."""
    task = TASKS[config.model.task]
    return task.read_sets(config.data, config.split, getattr(config, task.reading_part))


def names_of(config: RunConfig, sets: TrainingSets) -> str:
    """Tells whether several runs, each of which divides `config.data` by itself, have the same samples to divide."""
    return TASKS[config.model.task].out_of_fold().names_of(sets, config.data)


def _with_precision(config: RunConfig) -> RunConfig:
    """The run's precision by its name, where it is "auto", as a resumed run must not find another one."""
    if config.train.precision != "auto":
        return config
    precision = native_precision(resolve_device(config.train.device))
    return replace(config, train=replace(config.train, precision=precision))


def _start(config: RunConfig, folder: RunFolder, sets: TrainingSets, *, overwrite: bool) -> TrainResult:
    model, notes = initial_model(config, sets[0].classes)
    notes = [*config.chosen, *notes]
    if config.train.probe:
        notes = [*notes, TASKS[config.model.task].fit_probe(model, config, sets)]
    task = TASKS[config.model.task].for_training(config, sets)
    trainer = Trainer(config, folder, task, model)
    if is_main():
        folder.create(config, overwrite=overwrite)
        folder.note_start(describe_environment(num_processes=world_size()))
    try:
        return _finished(trainer, notes, sets[0])
    except LostProcessError:
        raise  # nothing is wrong with the run: it can be started again as it is
    except (UserError, OSError):
        if is_main():
            folder.discard_if_unsaved()
        raise


def _finished(trainer: Trainer, notes: list[str], train_set: TrainingSet) -> TrainResult:
    """Trains to the end."""
    trainer.fit(notes)
    task, progress = trainer.task, trainer.progress
    best_score, last_score = progress.best_score, progress.last_score
    if task.chosen_on != "val":  # those above decided, these are reported
        steps = (progress.best_step, progress.step)
        best_score, last_score = (trainer.evaluations.on_val[step].figures[task.metric] for step in steps)
    reported = trainer.evaluations.on_val.get(
        progress.best_step if trainer.settings.report == "best" else progress.step
    )
    return TrainResult(
        best=trainer.folder.best,
        metric=task.metric,
        best_score=best_score,
        best_epoch=progress.best_step // trainer.steps_per_epoch,
        last=trainer.folder.last,
        last_score=last_score,
        last_epoch=progress.step // trainer.steps_per_epoch,
        report=trainer.settings.report,
        unit=task.unit,
        num_train=len(task.train_paths),
        num_val=task.num_val - len(trainer.evaluations.unreadable["val"]),
        chosen_on=task.chosen_on,
        num_chosen_on=task.num_chosen_on,
        clips_per_s=progress.clips / max(progress.training_s, 1e-9),
        device_hours=progress.training_s * world_size() / 3600,
        ended_early=progress.step < trainer.total_steps,
        evaluation=None if reported is None else reported.evaluation,
        train_set=train_set,
    )


@contextmanager
def _taken(folder: RunFolder) -> Iterator[None]:
    """The folder is this run's alone; the processes leave one another when it is done, or asked to stop."""
    if is_main():
        with folder.locked():
            yield
    else:
        yield
    if distributed.is_initialized():
        distributed.destroy_process_group()
