"""From the views of a video or image to the probabilities of its classes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from morphmlp.checkpoints.info import CheckpointInfo, load_config
from morphmlp.config import InputConfig
from morphmlp.data.batches.views import ArrayBatches, Batch, BrokenSample, TestViews
from morphmlp.data.media.sources import MediaKind
from morphmlp.distributed import failing_together, gather
from morphmlp.errors import ConfigError
from morphmlp.inference.device import autocast, evaluating, require_finite
from morphmlp.inference.runtimes import Runtime
from morphmlp.tasks.ready import Ready
from morphmlp.tasks.registry import load_for_task

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.data import DataLoader

    from morphmlp.data.batches.loaders import TestClips
    from morphmlp.inference.device import Execution
    from morphmlp.models.morphmlp import MorphMLP

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
    model: "nn.Module | Runtime",
    loader: "DataLoader | ArrayBatches",
    *,
    precision: str = "fp32",
    temperature: float = 1.0,
    multi_label: bool = False,
) -> Iterator[tuple[int, ViewProbabilities | BrokenSample]]:
    """Index and probabilities of each sample of a loader of `make_test_loader`, or why it cannot be read.

    Args:
        temperature: of the checkpoint, see `join_views`.
        multi_label: each class has a probability of its own.

    Raises:
        NotFiniteError: an output is NaN or infinite.
    """
    dataset: Any = loader.dataset
    join = partial(join_views, temperature=temperature, multi_label=multi_label)
    for batch, logits in batch_logits(model, loader, precision=precision):
        yield from ((sample.index, sample) for sample in batch.broken)
        if not batch.indices:
            continue
        num_videos = len(batch.indices)
        joined = join(logits, num_videos=num_videos, aggregation=dataset.config.aggregation)
        views = join(logits, num_videos=len(logits), aggregation="logits")
        views = views.reshape(num_videos, -1, views.shape[-1])
        for index, *probabilities in zip(batch.indices, joined, views, strict=True):
            yield index, ViewProbabilities(*probabilities, note=batch.incomplete.get(index))


def batch_logits(
    model: "nn.Module | Runtime", loader: "DataLoader | ArrayBatches", *, precision: str
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Each batch of a loader of `make_test_loader`, and its logits as `clip_logits` gives them.

    Raises:
        NotFiniteError: an output is NaN or infinite.
    """
    dataset: Any = loader.dataset
    with evaluating(model):
        for batch in loader:
            if not batch.indices:
                yield batch, np.empty(0, np.float32)
                continue
            names = [dataset.samples[i].path for i in batch.indices]
            yield batch, clip_logits(model, batch.clips, names, precision=precision)


def clip_logits(
    model: "nn.Module | Runtime", clips: "Tensor | np.ndarray", names: Sequence[object], *, precision: str
) -> np.ndarray:
    """Clips `[videos * views, 3, T, h, w]`, those of a video in a row -> logits `[videos * views, classes]`, float32.

    Args:
        model: a module in evaluation mode, or an exported model.
        names: of the videos, for the message.

    Raises:
        NotFiniteError: an output is NaN or infinite.
    """
    if isinstance(model, Runtime):
        logits = model.logits(np.asarray(clips))
    else:
        logits = run_views(model, clips, precision=precision).float().cpu().numpy()
    require_finite(logits.reshape(len(names), -1), names)
    return logits


def run_views(model: "nn.Module", clips: "Tensor | np.ndarray", *, precision: str) -> "Tensor":
    """What a model in evaluation mode gives for clips `[views, 3, T, h, w]`, a limited number of them at a time."""
    import torch

    device = next(model.parameters()).device
    # Not `as_tensor`, which would follow a default device that the caller has set.
    clips = torch.from_numpy(clips) if isinstance(clips, np.ndarray) else clips
    parts = clips.split(VIEWS_PER_BATCH)
    with torch.no_grad(), autocast(device, precision):
        return torch.cat([model(part.to(device)) for part in parts])


def in_order(
    compute: Callable[[], Iterable[tuple[int, Result]]],
    loader: "DataLoader | ArrayBatches",
    *,
    progress: Callable[[int, int], None],
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


def views_for(model: "nn.Module | Runtime") -> type[TestViews]:
    """The class of test views that a model takes: tensors, or, of an exported model, arrays."""
    if isinstance(model, Runtime):
        return TestViews
    from morphmlp.data.batches.loaders import TestClips

    return TestClips


def make_test_loader(dataset: "TestClips | TestViews", *, workers: int, rank: int = 0, num_processes: int = 1) -> Any:
    """A loader whose batches hold about `VIEWS_PER_BATCH` views: every sample once, in order.

    Args:
        dataset: of `TestClips`, which is read by processes into tensors, or of `TestViews`, by threads into arrays.
        rank, num_processes: of this process, whose share is every `num_processes`-th batch from number `rank` on.
    """
    size = videos_per_batch(dataset.config)
    starts = range(rank * size, len(dataset), num_processes * size)
    batches = [list(range(start, min(start + size, len(dataset)))) for start in starts]
    return loader_of(dataset, batches, workers=workers)


def loader_of(dataset: "TestClips | TestViews", batches: list[list[int]], *, workers: int) -> Any:
    """A loader of these batches, of a dataset as of `make_test_loader`."""
    workers = min(workers, sum(map(len, batches)))
    if type(dataset) is TestViews:
        return ArrayBatches(dataset, batches, threads=workers)
    from morphmlp.data.batches.loaders import make_loader

    return make_loader(cast("TestClips", dataset), batches=batches, workers=workers)


def num_samples(loader: "DataLoader | ArrayBatches") -> int:
    """Samples that a loader of `make_test_loader` goes through."""
    return sum(map(len, loader.batch_sampler))  # type: ignore[arg-type]


def load_classifier(checkpoint: str | Path) -> "tuple[MorphMLP, CheckpointInfo]":
    """Loads a checkpoint folder and makes sure that it names classes of whole videos or images."""
    return load_for_task(checkpoint, "classification")


def ready_classifier(checkpoint: str | Path, execution: "Execution") -> Ready:
    """A checkpoint or an exported folder that names one class of a video or image."""
    return Ready(checkpoint, "classification", execution)


def task_of_classifier(checkpoint: str | Path) -> str:
    """The task of a checkpoint of either sort of classifier; "classification" of others, which is then refused."""
    return "multi_label" if load_config(checkpoint)[0].multi_label else "classification"


def model_kind(model: "MorphMLP | Runtime") -> MediaKind:
    """What a model takes, as `LabelledSet.kind` names it."""
    return "video" if model.config.temporal else "image"


def input_for_test(model: "MorphMLP | Runtime", info: CheckpointInfo, **changes: Any) -> InputConfig:
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


def class_thresholds(info: CheckpointInfo, num_classes: int, threshold: float | None = None) -> tuple[float, ...]:
    """Of a multi-label classifier, the least probability of each class with which it is among the answers.

    Args:
        threshold: for all classes, in place of the checkpoint's.

    Raises:
        ConfigError: it is not within 0 and 1.
    """
    if threshold is not None:
        return (chosen_threshold(info, threshold) or 0.0,) * num_classes
    return (0.5,) * num_classes if info.thresholds is None else tuple(info.thresholds)


def join_views(
    logits: np.ndarray, *, num_videos: int, aggregation: str, temperature: float = 1.0, multi_label: bool = False
) -> np.ndarray:
    """Logits of all views `[videos * views, classes]` -> probabilities `[videos, classes]`, float32.

    "logits": the views' logits are summed, as the released code does; the softmax of their mean is returned, so
    that the ranking is that of the sum and the probabilities do not sharpen with the number of views.
    "probabilities": the mean of the views' softmax, as other code bases do.

    All logits are divided by the temperature before that (Guo et al., On Calibration of Modern Neural Networks, ICML
    2017, Sec. 4.2).

    Args:
        multi_label: each class has a probability of its own, the sigmoid in place of the softmax.
    """
    activation = _sigmoid if multi_label else _softmax
    views = logits.astype(np.float32, copy=False) / np.float32(temperature)
    views = views.reshape(num_videos, -1, views.shape[-1])
    if aggregation == "logits":
        return activation(views.mean(axis=1))
    return activation(views).mean(axis=1)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(np.float32(0), -logits))  # which no large logit overflows


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
