"""Evaluation of a classifier with the published test protocol: several views a video, joined to one prediction.

An image is a video of one frame: it goes the same way. Segmentation is evaluated in `mask_evaluation.py`.

Under torchrun each process takes its share of the batches, and all get the whole result. The batches are those of a
single process, so that the result is the same to the last bit on the same kind of device.
"""

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from morphmlp.checkpoints import CheckpointInfo, load_with_info
from morphmlp.config import InputConfig, ListConfig, SplitConfig
from morphmlp.data.datasets import LabelledSet, MediaKind, Sample, evaluation_split, read_set, read_training_sets
from morphmlp.data.loaders import BrokenSample, TestClips, make_loader
from morphmlp.distributed import failing_together, gather, local_rank, process_group, rank, world_size
from morphmlp.errors import CheckpointError, ConfigError, DataError
from morphmlp.files import replaced_file
from morphmlp.inference import DTYPES, evaluating, optimize
from morphmlp.model import MorphMLP
from morphmlp.tasks import Evaluation, SamplePrediction, join_views

VIEWS_PER_BATCH = 32
OUTPUT_FILES = frozenset(["summary.json", "predictions.csv", "per_class.csv", "confusion.png"])


def evaluate_checkpoint(
    checkpoint: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    num_clips: int | None = None,
    num_crops: int | None = None,
    aggregation: str | None = None,
    shuffle_frames: bool = False,
    lists: dict[str, Any] | None = None,
    workers: int = 2,
    device: str = "auto",
    precision: str = "fp32",
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluates a checkpoint folder on the videos or images of `data`.

    What a prediction depends on beside the weights (normalisation, channel order, sizes, sampling, views) is that of
    the checkpoint, but for the arguments.

    Args:
        split: "train", "val", "test" or "all"; by default the test or validation part where `data` has one, or what
            was held out of it when the checkpoint was trained on it, else all.
        num_clips, num_crops, aggregation: of the protocol; by default what the checkpoint was saved with.
        shuffle_frames: destroys the order of each clip's frames, to see what the order is worth.
        lists: fields of `ListConfig`; for the data that the checkpoint was trained on, those that differ from the
            training's.
        device: "auto" is the CUDA device of this process where there is one, else the CPU.
        progress: called with the samples done and the samples in all, of this process.

    Raises:
        CheckpointError, DataError: the data is of another kind than the model's, or has other classes.
    """
    model, info = load_classifier(checkpoint)
    config = input_for_test(model, info, num_clips=num_clips, num_crops=num_crops, aggregation=aggregation)
    labelled = _labelled_samples(data, split, lists or {}, model, info, checkpoint)
    dataset = TestClips(labelled.samples, model.config.frames, config, shuffle_frames=shuffle_frames)
    loader = make_test_loader(dataset, workers=workers, rank=rank(), num_processes=world_size())
    fast, precision = for_inference(model.to(resolve_device(device)), precision)
    with process_group():
        return evaluate(fast, loader, labelled, precision=precision, progress=progress)


def evaluate(
    model: nn.Module,
    loader: DataLoader,
    labelled: LabelledSet,
    *,
    precision: str = "fp32",
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluates a model on the samples of `labelled`, of which the loader of each process goes through its share.

    Of several processes all call it and get the same result, also where one of them fails.

    Args:
        loader: `make_test_loader` of `TestClips` over all samples, for this process.

    Raises:
        DataError: not one of the samples can be read.
    """
    results: list[tuple[int, SamplePrediction | BrokenSample]] = []
    with failing_together():
        for index, result in predict_samples(model, loader, precision=precision):
            results.append((index, _prediction(labelled.samples[index], result)))
            if progress:
                progress(len(results), _num_samples(loader))
    results = sorted(gather(results), key=lambda item: item[0])
    assert [index for index, _ in results] == list(range(len(labelled.samples))), "a sample is missing, or counts twice"
    predictions = [result for _, result in results if isinstance(result, SamplePrediction)]
    broken = [(result.path, result.reason) for _, result in results if isinstance(result, BrokenSample)]
    if not predictions:
        raise DataError(f"none of the {len(broken)} {labelled.unit} can be read; {broken[0][0]}: {broken[0][1]}")
    return Evaluation(list(labelled.classes), predictions, broken, labelled.unit)


def _prediction(sample: Sample, result: "ViewProbabilities | BrokenSample") -> SamplePrediction | BrokenSample:
    if isinstance(result, BrokenSample):
        return result
    return SamplePrediction(Path(sample.path), sample.label, result.joined, label_ranks(result.views, sample.label))


def label_ranks(probabilities: np.ndarray, label: int) -> np.ndarray:
    """The rank of the label in each row of `[views, classes]`, from 0; of equal values the first class is the best.

    >>> label_ranks(np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]), label=1)
    array([0, 1])
    """
    own = probabilities[:, [label]]
    return (probabilities > own).sum(axis=1) + (probabilities[:, :label] == own).sum(axis=1)


@dataclass(frozen=True)
class ViewProbabilities:
    """What a model says of one video or image: `joined` of its views, `[classes]`, and of each, `[views, classes]`."""

    joined: np.ndarray
    views: np.ndarray


def predict_samples(
    model: nn.Module, loader: DataLoader, *, precision: str = "fp32"
) -> Iterator[tuple[int, ViewProbabilities | BrokenSample]]:
    """Index and probabilities of each sample of a loader over `TestClips`, or why it cannot be read."""
    dataset: Any = loader.dataset
    device = next(model.parameters()).device
    with evaluating(model):
        for batch in loader:
            yield from ((sample.index, sample) for sample in batch.broken)
            if not batch.indices:
                continue
            with torch.no_grad(), autocast(device, precision):
                logits = torch.cat([model(clips.to(device)) for clips in batch.clips.split(VIEWS_PER_BATCH)])
            num_videos = len(batch.indices)
            joined = join_views(logits, num_videos=num_videos, aggregation=dataset.config.aggregation).cpu().numpy()
            views = logits.float().softmax(dim=-1).unflatten(0, (num_videos, -1)).cpu().numpy()
            for index, *probabilities in zip(batch.indices, joined, views, strict=True):
                yield index, ViewProbabilities(*probabilities)


def make_test_loader(dataset: TestClips, *, workers: int, rank: int = 0, num_processes: int = 1) -> DataLoader:
    """A loader whose batches hold about `VIEWS_PER_BATCH` views: every sample once, in order.

    Args:
        rank, num_processes: of the batches, this process's share: every `num_processes`-th from number `rank` on.
    """
    views = dataset.config.num_clips * dataset.config.num_crops
    size = max(1, VIEWS_PER_BATCH // views)
    starts = range(rank * size, len(dataset), num_processes * size)
    batches = [list(range(start, min(start + size, len(dataset)))) for start in starts]
    return make_loader(dataset, batches=batches, workers=min(workers, sum(map(len, batches))))


def _num_samples(loader: DataLoader) -> int:
    return sum(map(len, loader.batch_sampler))  # type: ignore[arg-type]


def load_classifier(checkpoint: str | Path) -> tuple[MorphMLP, CheckpointInfo]:
    """Loads a checkpoint folder and makes sure that it names classes of whole videos or images."""
    model, info = load_with_info(checkpoint)
    if model.config.task != "classification":
        raise CheckpointError(f"{checkpoint} is a segmenter ({model.config.name}); use `morphmlp segment`")
    return model, info


def model_kind(model: MorphMLP) -> MediaKind:
    """What a model takes, as `data.datasets.LabelledSet.kind` names it."""
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


def resolve_device(device: str) -> torch.device:
    """ "auto" is the CUDA device of this process where there is one: of the first process on a machine the first."""
    if device == "auto":
        device = f"cuda:{local_rank()}" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(device).type not in ("cpu", "cuda"):
            raise RuntimeError
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError):
        raise DataError(
            f"device {device!r} cannot be used here; allowed: auto, cpu, or cuda with a CUDA device"
        ) from None


def for_inference(model: MorphMLP, precision: str) -> tuple[nn.Module, str]:
    """The model as it infers fastest in a precision, and the precision that is then left to autocast.

    On a GPU it stays as it is: `optimize` has been measured on CPUs only.
    """
    if precision in DTYPES and next(model.parameters()).device.type == "cpu":
        return optimize(model, precision), "fp32"
    return model, precision


def autocast(device: torch.device, precision: str) -> Any:
    """Mixed precision as `TrainConfig.precision` names it."""
    dtypes = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision not in dtypes:
        raise ConfigError(f"precision is {precision!r}; allowed: {', '.join(dtypes)}")
    return torch.autocast(device.type, dtypes[precision]) if dtypes[precision] else nullcontext()


def write_predictions(evaluation: Evaluation, path: str | Path) -> None:
    """A csv row for each sample: path, label, prediction, its probability, and that of every class."""
    with replaced_file(path) as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "predicted", "probability", *evaluation.labels])
        for prediction in evaluation.predictions:
            best = prediction.predicted
            probabilities = [f"{value:.6f}" for value in prediction.probabilities]
            label = evaluation.labels[prediction.label] if prediction.label >= 0 else ""
            rows.writerow([prediction.path, label, evaluation.labels[best], probabilities[best], *probabilities])


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """The figures of an evaluation as plain values; `top1` and `top5` are of whole videos or images."""
    total = len(evaluation.predictions) + len(evaluation.broken)
    return {
        evaluation.unit: total,
        "evaluated": len(evaluation.predictions),
        "views": evaluation.num_views,
        "top1": evaluation.accuracy(1),
        "top5": evaluation.accuracy(5),
        "top1_single_view": evaluation.view_accuracy(1),
        "top5_single_view": evaluation.view_accuracy(5),
        "loss": evaluation.loss(),
        "classes": evaluation.per_class(),
        "not_evaluated": [{"path": str(path), "reason": reason} for path, reason in evaluation.broken],
    }


def write_summary(evaluation: Evaluation, path: str | Path) -> None:
    """The figures of an evaluation as a JSON file."""
    with replaced_file(path) as file:
        json.dump(summary(evaluation), file, indent=2)


def _read_part(data: str | Path, split: str | None, lists: dict[str, Any], info: CheckpointInfo) -> LabelledSet:
    """The part of the data that `split` names; one that was drawn when the checkpoint was trained is drawn again."""
    trained_on = info.training.get("data") == os.path.abspath(data)
    reading = ListConfig.from_dict(((info.training.get("lists") or {}) if trained_on else {}) | lists)
    given_part = evaluation_split(data, reading)
    if trained_on and given_part is None and split in (None, "train", "val"):
        train, val = read_training_sets(data, SplitConfig.from_dict(info.training["split"]), reading)
        return train if split == "train" else val
    return read_set(data, split=None if split == "all" else split or given_part, lists=reading)


def _labelled_samples(
    data: str | Path,
    split: str | None,
    lists: dict[str, Any],
    model: MorphMLP,
    info: CheckpointInfo,
    checkpoint: str | Path,
) -> LabelledSet:
    labelled = _read_part(data, split, lists, info)
    if labelled.kind != model_kind(model):
        raise DataError(
            f"{data} holds {labelled.unit}, but {checkpoint} is a model of {model_kind(model)}s ({model.config.name}); "
            f"give a folder of {model_kind(model)}s, or a checkpoint for {labelled.unit}"
        )
    if info.labels:
        return labelled.relabelled(info.labels, source=str(checkpoint))
    if len(labelled.classes) != model.config.num_classes:
        raise DataError(
            f"{data} has {len(labelled.classes)} classes, but {checkpoint} has {model.config.num_classes} outputs and "
            "no class names; convert it with --labels"
        )
    return labelled
