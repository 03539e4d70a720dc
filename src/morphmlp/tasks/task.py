"""What a training run asks of its task."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler


@dataclass(frozen=True)
class Scores:
    """What an evaluation within a training says: figures by name, how many samples were evaluated, and the others."""

    figures: dict[str, float]
    evaluated: int
    broken: list[tuple[Path, str]]


class Task(Protocol):
    """What a training run needs to know of its task.

    Attributes:
        unit: what the samples are, in the plural: "videos" or "images".
        metric: the name of the figure, 0 to 1, whose best evaluation is kept; one of `Scores.figures`.
        classes: names in the order of the labels.
        train_paths: of the training samples; the loader's batches name samples by their place here.
        train_labels: of the training samples; empty where a sample has no single label.
        num_val: validation samples.
        notes: what there is to say of the data before training starts.
        fingerprint: tells whether a resumed run sees the samples that it was started with.
    """

    unit: str
    metric: str
    classes: list[str]
    train_paths: list[Path]
    train_labels: list[int]
    num_val: int
    notes: list[str]
    fingerprint: str

    def loader(self, batches: Sampler[list[int]]) -> DataLoader:
        """Batches with `indices` and `broken`, of the items `pass_number * len(train_paths) + index` in `batches`."""
        ...

    def weight(self, batch: Any) -> float:
        """What the mean of a batch's loss is over: its clips, or its annotated pixels."""
        ...

    def num_clips(self, batch: Any) -> int:
        """Clips of a batch: more than its samples with repeated augmentation."""
        ...

    def loss(self, model: nn.Module, batch: Any, device: torch.device) -> Tensor:
        """Mean loss of a batch, in float32."""
        ...

    def evaluate(self, model: nn.Module, progress: Callable[[int, int], None]) -> Scores:
        """Scores on the validation samples of all processes; `progress` is called with the samples done and in all."""
        ...


def fingerprint(lines: Iterable[str]) -> str:
    """A short name of the training samples, a line each, for `Task.fingerprint`."""
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()
