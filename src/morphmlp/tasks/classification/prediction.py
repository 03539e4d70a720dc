"""From the views of a video or image to the probabilities of its classes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from morphmlp.checkpoints.folder import CheckpointInfo
from morphmlp.config import InputConfig
from morphmlp.data.batches.loaders import Batch, BrokenSample, TestClips, make_loader
from morphmlp.data.media.sources import MediaKind
from morphmlp.distributed import failing_together, gather
from morphmlp.errors import ConfigError
from morphmlp.inference.device import autocast, evaluating, require_finite
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.tasks.registry import load_for_task

Result = TypeVar("Result")

VIEWS_PER_BATCH = 32
NONE_OF_THESE = "none of these"  # the answer below the threshold


@dataclass(frozen=True)
class ViewProbabilities:
    """Probabilities for one video or image: its views joined, `[classes]`, and each view, `[views, classes]`.

    `note` says what is missing of a video that was cut off or damaged.
    """

    joined: np.ndarray
    views: np.ndarray
    note: str | None = None


def predict_samples(
    model: nn.Module, loader: DataLoader, *, precision: str = "fp32", temperature: float = 1.0
) -> Iterator[tuple[int, ViewProbabilities | BrokenSample]]:
    """Index and probabilities of each sample of a loader over `TestClips`, or why it cannot be read.

    Args:
        temperature: of the checkpoint, see `join_views`.

    Raises:
        NotFiniteError: an output is NaN or infinite.
    """
    dataset: Any = loader.dataset
    for batch, logits in batch_logits(model, loader, precision=precision):
        yield from ((sample.index, sample) for sample in batch.broken)
        if not batch.indices:
            continue
        num_videos = len(batch.indices)
        joined = join_views(
            logits, num_videos=num_videos, aggregation=dataset.config.aggregation, temperature=temperature
        )
        views = join_views(logits, num_videos=len(logits), aggregation="logits", temperature=temperature)
        views = views.unflatten(0, (num_videos, -1))
        for index, *probabilities in zip(batch.indices, joined.cpu().numpy(), views.cpu().numpy(), strict=True):
            yield index, ViewProbabilities(*probabilities, note=batch.incomplete.get(index))


def batch_logits(model: nn.Module, loader: DataLoader, *, precision: str) -> Iterator[tuple[Batch, Tensor]]:
    """Each batch of a loader over `TestClips`, and its logits `[videos * views, classes]`, those of a video in a row.

    Raises:
        NotFiniteError: an output is NaN or infinite.
    """
    dataset: Any = loader.dataset
    with evaluating(model):
        for batch in loader:
            if not batch.indices:
                yield batch, torch.empty(0)
                continue
            names = [dataset.samples[i].path for i in batch.indices]
            yield batch, clip_logits(model, batch.clips, names, precision=precision)


def clip_logits(model: nn.Module, clips: Tensor, names: Sequence[object], *, precision: str) -> Tensor:
    """Logits `[videos * views, classes]` of clips `[videos * views, 3, T, h, w]`, by a model in evaluation mode.

    Args:
        names: of the videos, for the message.

    Raises:
        NotFiniteError: an output is NaN or infinite.
    """
    logits = run_views(model, clips, precision=precision)
    require_finite(logits.unflatten(0, (len(names), -1)), names)
    return logits


def run_views(model: nn.Module, clips: Tensor, *, precision: str) -> Tensor:
    """What a model in evaluation mode gives for clips `[views, 3, T, h, w]`, a limited number of them at a time."""
    device = next(model.parameters()).device
    with torch.no_grad(), autocast(device, precision):
        return torch.cat([model(part.to(device)) for part in clips.split(VIEWS_PER_BATCH)])


def in_order(
    compute: Callable[[], Iterable[tuple[int, Result]]], loader: DataLoader, *, progress: Callable[[int, int], None]
) -> list[Result]:
    """The results of all processes in the order of the samples.

    All processes call it, and all get the same list or the same error.

    Args:
        compute: gives index and result of each sample of this process's loader.
    """
    own = []
    with failing_together():
        for item in compute():
            own.append(item)
            progress(len(own), num_samples(loader))
    ordered = sorted(gather(own), key=lambda item: item[0])
    dataset: Any = loader.dataset
    assert [index for index, _ in ordered] == list(range(len(dataset))), "a sample is missing, or counts twice"
    return [result for _, result in ordered]


def videos_per_batch(config: InputConfig) -> int:
    """How many videos, or windows, make about `VIEWS_PER_BATCH` views."""
    return max(1, VIEWS_PER_BATCH // (config.num_clips * config.num_crops))


def make_test_loader(dataset: TestClips, *, workers: int, rank: int = 0, num_processes: int = 1) -> DataLoader:
    """A loader whose batches hold about `VIEWS_PER_BATCH` views: every sample once, in order.

    Args:
        rank, num_processes: of this process, whose share is every `num_processes`-th batch from number `rank` on.
    """
    size = videos_per_batch(dataset.config)
    starts = range(rank * size, len(dataset), num_processes * size)
    batches = [list(range(start, min(start + size, len(dataset)))) for start in starts]
    return make_loader(dataset, batches=batches, workers=min(workers, sum(map(len, batches))))


def num_samples(loader: DataLoader) -> int:
    """Samples that a loader of `make_test_loader` goes through."""
    return sum(map(len, loader.batch_sampler))  # type: ignore[arg-type]


def load_classifier(checkpoint: str | Path) -> tuple[MorphMLP, CheckpointInfo]:
    """Loads a checkpoint folder and makes sure that it names classes of whole videos or images."""
    return load_for_task(checkpoint, "classification")


def model_kind(model: MorphMLP) -> MediaKind:
    """What a model takes, as `LabelledSet.kind` names it."""
    return "video" if model.config.temporal else "image"


def input_for_test(model: MorphMLP, info: CheckpointInfo, **changes: Any) -> InputConfig:
    """The checkpoint's input with the parts of the test protocol that are not None.

    Raises:
        ConfigError: several clips are asked of an image model.
    """
    config = with_protocol(info.input, **changes)
    if not model.config.temporal and config.num_clips > 1:
        raise ConfigError(f"{config.num_clips} clips of an image: it is a single frame; leave out --clips")
    return config


def with_protocol(config: InputConfig, **changes: Any) -> InputConfig:
    """The checkpoint's input with the parts of the test protocol that are not None."""
    return replace(config, **{name: value for name, value in changes.items() if value is not None})


def chosen_threshold(info: CheckpointInfo, threshold: float | None) -> float | None:
    """The threshold that is asked for, or else the checkpoint's; None, as 0, always answers.

    Raises:
        ConfigError: it is not within 0 and 1.
    """
    return replace(info, threshold=info.threshold if threshold is None else threshold).threshold or None


def is_answered(probability: float, threshold: float | None) -> bool:
    """Whether the best class, of this probability, is the answer; below the threshold none is."""
    return threshold is None or probability >= threshold


def answer_of(label: str, probability: float, threshold: float | None) -> str:
    """The best class, or "none of these" where its probability is below the threshold."""
    return label if is_answered(probability, threshold) else NONE_OF_THESE


def join_views(logits: Tensor, *, num_videos: int, aggregation: str, temperature: float = 1.0) -> Tensor:
    """Logits of all views `[videos * views, classes]` -> probabilities `[videos, classes]`.

    "logits": the views' logits are summed, as the released code does; the softmax of their mean is returned, so
    that the ranking is that of the sum and the probabilities do not sharpen with the number of views.
    "probabilities": the mean of the views' softmax, as other code bases do.

    All logits are divided by the temperature before that (Guo et al., On Calibration of Modern Neural Networks, ICML
    2017, Sec. 4.2).
    """
    views = (logits.float() / temperature).unflatten(0, (num_videos, -1))
    if aggregation == "logits":
        return views.mean(dim=1).softmax(dim=-1)
    return views.softmax(dim=-1).mean(dim=1)
