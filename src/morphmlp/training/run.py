"""Training a model on a data set: a new run in its folder, or a stopped one that goes on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import distributed

from morphmlp.config import ListConfig, MaskConfig, RunConfig, SplitConfig
from morphmlp.data.sets.labelled import LabelledSet
from morphmlp.data.sets.read import read_training_sets
from morphmlp.distributed import agreed, is_main, join_processes, world_size
from morphmlp.errors import ConfigError, DataError, UserError
from morphmlp.models.zoo import build_model
from morphmlp.tasks.classification.training import ClassificationTask
from morphmlp.tasks.segmentation.annotations import MaskSet, is_mask_data, read_mask_sets
from morphmlp.tasks.segmentation.training import SegmentationTask
from morphmlp.tasks.task import Task
from morphmlp.training.environment import describe_environment
from morphmlp.training.initial_weights import initial_model
from morphmlp.training.run_folder import RunFolder
from morphmlp.training.stopping import Interrupted, LostProcessError
from morphmlp.training.trackers import require_trackers
from morphmlp.training.trainer import NotFiniteError, Trainer

__all__ = ["Interrupted", "LostProcessError", "NotFiniteError", "TrainResult", "read_sets", "resume", "train"]

TrainingSets = tuple[LabelledSet, LabelledSet] | tuple[MaskSet, MaskSet]


@dataclass(frozen=True)
class TrainResult:
    """How a run ended; `best` is the checkpoint of the epoch with the highest `metric`: "top1" or "miou".

    `num_val` leaves out the validation samples that could not be read.
    """

    best: Path
    metric: str
    best_score: float
    best_epoch: int
    unit: str
    num_train: int
    num_val: int
    clips_per_s: float


def read_sets(
    data: str | Path, split: SplitConfig, masks: MaskConfig | None = None, lists: ListConfig | None = None
) -> TrainingSets:
    """The training and validation sets below `data`; what it holds decides: masks, images or videos."""
    if is_mask_data(data):
        return read_mask_sets(data, masks or MaskConfig(), split)
    return read_training_sets(data, split, lists)


def train(
    config: RunConfig, out: str | Path, *, overwrite: bool = False, sets: TrainingSets | None = None
) -> TrainResult:
    """Starts a run in a new folder; `sets` are the samples of `config.data` where they have been read already.

    Under torchrun every process calls it alike, and gets the same result.

    Raises:
        UserError: data, configuration or folder cannot be used; nothing is left behind then.
        NotFiniteError: the loss or its gradient is NaN or infinite.
        LostProcessError: a decoding process, or another process of the run, ended.
        Interrupted: after Ctrl-C or SIGTERM; the state is saved.
    """
    folder = RunFolder(out)
    require_trackers(config.train.trackers)
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(config.data)):
        raise ConfigError(f"{out} lies in the folder of data, {config.data}; choose another --out")
    with _taken(folder):
        if is_main():
            folder.check(overwrite=overwrite)
        join_processes()
        sets = sets or read_sets(config.data, config.split, config.masks, config.lists)
        return _start(config, folder, sets, overwrite=overwrite)


def resume(out: str | Path) -> TrainResult:
    """Goes on with a stopped run, under the configuration that it was started with.

    Raises:
        UserError: there is no run, its state is damaged, or its data has changed.
    """
    folder = RunFolder(out)
    config = folder.read_config()
    require_trackers(config.train.trackers)
    with _taken(folder):
        if is_main():
            folder.clear_leftovers()
        join_processes()
        if not Path(config.data).exists():
            raise DataError(f"the run's data, {config.data}, is no longer there; put it back, or link it to that place")
        sets = read_sets(config.data, config.split, config.masks, config.lists)
        if not agreed(folder.has_state):  # stopped before the first save
            return _start(config, folder, sets, overwrite=True)
        trainer = Trainer(config, folder, make_task(config, sets), build_model(config.model))
        notes = trainer.load_state()
        if is_main() and trainer.progress.step < trainer.total_steps:
            folder.note_start(describe_environment(num_processes=world_size()))
        return _finished(trainer, notes)


def _start(config: RunConfig, folder: RunFolder, sets: TrainingSets, *, overwrite: bool) -> TrainResult:
    model, notes = initial_model(config, sets[0].classes)
    task = make_task(config, sets)
    trainer = Trainer(config, folder, task, model)
    if is_main():
        folder.create(config, overwrite=overwrite)
        folder.note_start(describe_environment(num_processes=world_size()))
    try:
        return _finished(trainer, notes)
    except LostProcessError:
        raise  # nothing is wrong with the run: it can be started again as it is
    except (UserError, OSError):
        if is_main():
            folder.discard_if_unsaved()
        raise


def make_task(config: RunConfig, sets: TrainingSets) -> Task:
    """What the run learns: `config.model.task`."""
    if config.model.task == "segmentation":
        return SegmentationTask(config, sets)  # type: ignore[arg-type]
    return ClassificationTask(config, sets)  # type: ignore[arg-type]


def _finished(trainer: Trainer, notes: list[str]) -> TrainResult:
    """Trains to the end."""
    trainer.fit(notes)
    task, progress = trainer.task, trainer.progress
    return TrainResult(
        best=trainer.folder.best,
        metric=task.metric,
        best_score=progress.best_score,
        best_epoch=progress.best_step // trainer.steps_per_epoch,
        unit=task.unit,
        num_train=len(task.train_paths),
        num_val=task.num_val - len(trainer.broken_val),
        clips_per_s=progress.clips / max(progress.training_s, 1e-9),
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
