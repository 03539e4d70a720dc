"""The one table of the tasks. It loads no torch."""

from pathlib import Path
from typing import TYPE_CHECKING

from morphmlp.config import Config, ModelConfig
from morphmlp.errors import CheckpointError
from morphmlp.tasks.classification.multi_label.task import MultiLabel
from morphmlp.tasks.classification.task import Classification
from morphmlp.tasks.segmentation.task import Segmentation
from morphmlp.tasks.task import Task

if TYPE_CHECKING:
    from morphmlp.checkpoints.info import CheckpointInfo
    from morphmlp.models.morphmlp import MorphMLP

# By `ModelConfig.task`. Any folder may hold class folders, so of the tasks that recognise it the last one is meant.
TASKS: dict[str, Task] = {task.name: task for task in (Classification(), MultiLabel(), Segmentation())}


def task_of_data(data: str | Path) -> Task:
    """The task that a training on `data` learns: what the folder holds decides."""
    return [task for task in TASKS.values() if task.recognises(data)][-1]


def task_of_kind(kind: str) -> Task:
    """The task whose sets are of this kind."""
    return next(task for task in TASKS.values() if kind in task.default_models)


def load_for_task(checkpoint: str | Path, name: str) -> "tuple[MorphMLP, CheckpointInfo]":
    """Loads a checkpoint folder's model and what is written beside it.

    Raises:
        CheckpointError: it cannot be read, or is of another task.
    """
    from morphmlp.checkpoints.folder import load_with_info

    model, info = load_with_info(checkpoint)
    require_task(checkpoint, model.config, name)
    return model, info


def require_task(checkpoint: str | Path, config: ModelConfig, name: str) -> None:
    """Raises CheckpointError where a checkpoint's model is of another task."""
    if config.task != name:
        found = TASKS[config.task]
        raise CheckpointError(f"{checkpoint} is a {found.model_noun} ({config.name}); use `morphmlp {found.verb}`")


def readings() -> dict[str, type[Config]]:
    """What the tasks read their data by, by the field of `RunConfig` that holds it."""
    return {task.reading_part: task.reading for task in TASKS.values()}


def figure_names() -> dict[str, str]:
    """Names for people of the figures of all tasks, by their names in a log."""
    return {name: shown for task in TASKS.values() for name, shown in task.figures.items()}
