"""What the rest of the package asks of a task: by its name, by its data, in a training and in an evaluation.

`registry.py` is the table of the tasks. This module and a task's `task.py` load no torch: the options of the command
line come from them.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from morphmlp.config import RunConfig, SplitConfig
from morphmlp.config.base import Config
from morphmlp.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from rich.console import RenderableType
    from torch import Tensor, nn
    from torch.utils.data import DataLoader, Sampler

    from morphmlp.inference.device import Execution
    from morphmlp.models.morphmlp import MorphMLP


EvaluatedPart = Literal["select", "val"]  # within a training


class TrainingSet(Protocol):
    """Samples of one part of the data, the names of their classes, and what kind of files they are."""

    @property
    def samples(self) -> Sequence[Any]: ...
    @property
    def classes(self) -> list[str]: ...
    @property
    def kind(self) -> Any: ...


class Task(ABC):
    """What models of a task answer, how their data is read, and how they are evaluated.

    Attributes:
        name: as in `ModelConfig.task`.
        model_noun: what a model of the task is, such as "classifier".
        verb: of the command line, which uses such a model.
        metric: the figure of an evaluation whose best value decides which checkpoint is kept; 0 to 1.
        figures: names for people of all figures of 0 to 1, by their names in the log.
        default_models: the model that a training takes by default, by the kind of the task's sets.
        reading_part: the field of `RunConfig` that says how the data is read; options of the same name set it.
        reading: its class.
        options: of `evaluate`, those that not every task takes.
        output_files: the files of an evaluation.
        unit: what an evaluation counts, in the plural.
        head_fields: fields of `ModelConfig` that only this task's models depend on.
        head_noun: what follows the backbone of its models.
        last_layer: the name of their last layer, whose rows are the classes.
    """

    name: str
    model_noun: str
    verb: str
    metric: str
    figures: ClassVar[Mapping[str, str]]
    default_models: ClassVar[Mapping[str, str]]
    reading_part: str
    reading: type[Config]
    options: tuple[str, ...]
    output_files: tuple[str, ...]
    unit: str
    head_fields: tuple[str, ...] = ()
    head_noun: str = "head"
    last_layer: str = "head"

    @abstractmethod
    def recognises(self, data: str | Path) -> bool:
        """Whether a folder or list may hold data of this task."""

    @abstractmethod
    def read_sets(self, data: str | Path, split: SplitConfig, reading: Any) -> tuple[TrainingSet, TrainingSet]:
        """The training and validation sets below `data`.

        Args:
            reading: a value of the class `reading`.

        Raises:
            DataError: the data cannot be used.
        """

    def completed(self, config: RunConfig, sets: tuple[Any, Any]) -> RunConfig:
        """The configuration with what follows from the sets that `read_sets` gave."""
        return config

    def pairs_to_check(self, data: Path, split: SplitConfig, reading: Any) -> "AnnotatedSet | None":
        """The samples and their annotations, for `check-data`; None where the labels are no files of their own.

        Raises:
            DataError: there are no samples.
        """
        return None

    @abstractmethod
    def for_training(self, config: RunConfig, sets: tuple[Any, Any]) -> "TrainingTask":
        """What a run learns on the two sets that `read_sets` gave."""

    def fit_probe(self, model: "MorphMLP", config: RunConfig, sets: tuple[Any, Any]) -> str:
        """Fits the last layer of a model to features of the training set, in place; returns a line on that.

        Raises:
            ConfigError: the task has no such thing.
        """
        raise ConfigError(f"--probe is for classifiers; {config.data} is for {self.name}: leave it out")

    def out_of_fold(self) -> Any:
        """The task's module `out_of_fold`, which keeps and shows the predictions of folds.

        Raises:
            ConfigError: the task has none.
        """
        raise ConfigError(f"--folds is for classifiers, and this data is for {self.name}: leave it out")

    @abstractmethod
    def evaluate(
        self,
        checkpoint: str | Path,
        data: str | Path,
        *,
        split: str | None,
        options: Mapping[str, Any],
        execution: "Execution",
    ) -> Any:
        """Evaluates a checkpoint folder; `report()` shows what this returns.

        Args:
            split: "train", "val", "test" or "all"; None takes the part to evaluate on.
            options: values by the names in `options`; what is left out is as in the checkpoint.

        Raises:
            CheckpointError, DataError: the data does not fit the checkpoint.
        """

    def review(
        self,
        evaluation: Any,
        checkpoint: str | Path,
        data: str | Path,
        *,
        split: str | None,
        options: Mapping[str, Any],
        execution: "Execution",
    ) -> Any:
        """The evaluation with what there is to say beside its figures, such as what simple means reach.

        Only the main process calls it. The arguments are those of `evaluate`. A task may have nothing to say.
        """
        return evaluation

    def compare(
        self,
        evaluation: Any,
        train: Any,
        *,
        split: SplitConfig,
        workers: int,
        progress: Callable[[int, int], None],
    ) -> "Compared | None":
        """An evaluation beside what simple means reach that learn from the training set; None where a task has none.

        Args:
            split: says which samples are of one group.
            workers, progress: of the decoding.
        """
        return None

    @abstractmethod
    def report(self) -> "Report":
        """The task's module `report`, which shows evaluations."""


class CountAnnotation(Protocol):
    """Reads an annotation; its `repr` says how, as what it said once holds only while that is the same."""

    def __call__(self, path: Path, size: tuple[int, int]) -> tuple[int, ...]:
        """Pixels of each class, then those without one, of the annotation of an image of this height and width.

        Raises:
            MediaError: it cannot be used.
        """
        ...


@dataclass(frozen=True)
class AnnotatedSet:
    """Images with a file of annotations for each.

    Attributes:
        parts: image and annotation of each sample, by split.
        refusal: the words in which a training refuses the set; None where it takes it.
    """

    parts: dict[str, list[tuple[Path, Path]]]
    classes: list[str]
    refusal: str | None
    count: CountAnnotation


class Report(Protocol):
    """What a task's module `report` has for its evaluations."""

    @staticmethod
    def summary(evaluation: Any) -> dict[str, Any]:
        """The figures as plain values, ready for JSON."""
        ...

    @staticmethod
    def evaluation_tables(evaluation: Any) -> "list[RenderableType]":
        """The figures for the terminal."""
        ...

    @staticmethod
    def write_evaluation(evaluation: Any, folder: Path) -> None:
        """Writes `Task.output_files` into a folder."""
        ...


@dataclass(frozen=True)
class Compared:
    """A model beside simple means: lines for people, and plain values, ready for JSON.

    Of the values, "not_beaten" names the means that the model is not better than.
    """

    lines: list[str]
    values: dict[str, Any]


@dataclass(frozen=True)
class Scores:
    """The result of an evaluation within a training: figures by name, how many samples were evaluated, and the rest.

    `broken` has path and reason of the samples that could not be read; `evaluation` is all of it, as the task has it.
    """

    figures: dict[str, float]
    evaluated: int
    broken: list[tuple[Any, str]]
    evaluation: Any = None


class TrainingTask(Protocol):
    """What a training run asks of its task, which holds the run's samples.

    Attributes:
        unit: what the samples are, in the plural: "videos" or "images".
        metric, figures: those of `Task`.
        classes: names in the order of the labels.
        train_paths: of the training samples; the loader's batches name samples by their place here.
        train_labels: of the training samples; empty where a sample has no single label.
        num_val: validation samples.
        chosen_on: the part that the best epoch is chosen on: "select" is held out of the training part.
        num_chosen_on: samples of it.
        notes: what to say of the data before training starts.
        fingerprint: tells whether a resumed run sees the samples that it was started with.
    """

    unit: str
    metric: str
    figures: Mapping[str, str]
    classes: list[str]
    train_paths: list[Any]
    train_labels: list[int]
    num_val: int
    chosen_on: "EvaluatedPart"
    num_chosen_on: int
    notes: list[str]
    fingerprint: str

    def summary(self) -> Mapping[str, Any]:
        """What a checkpoint's summary of its training says of the samples, beside their number."""
        ...

    def answers(self) -> Mapping[str, Any]:
        """Fields of `CheckpointInfo` that say how outputs become answers; none where that is as usual."""
        ...

    def put_answers(self, answers: Mapping[str, Any]) -> None:
        """Takes up what `answers` gave for another epoch, or before the run was stopped."""
        ...

    def loader(self, batches: "Sampler[list[int]]") -> "DataLoader":
        """Batches with `indices` and `broken`, of the items `pass_number * len(train_paths) + index` in `batches`."""
        ...

    def weight(self, batch: Any) -> float:
        """What the mean of a batch's loss is over: its clips, or its annotated pixels."""
        ...

    def num_clips(self, batch: Any) -> int:
        """Clips of a batch; with repeated augmentation they are more than its samples."""
        ...

    def loss(self, model: "nn.Module", batch: Any, device: "torch.device") -> "Tensor":
        """Mean loss of a batch, in float32."""
        ...

    def evaluate(
        self, model: "nn.Module", progress: Callable[[int, int], None], *, part: "EvaluatedPart" = "val"
    ) -> Scores:
        """Scores on a part, of all processes; `progress` is called with the samples done and in all."""
        ...

    def reason_for_nan(self) -> str:
        """Why an evaluation's metric is NaN, and what to look at."""
        ...


def fingerprint(lines: Iterable[str]) -> str:
    """A short name of the training samples, a line each, for `TrainingTask.fingerprint`."""
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()
