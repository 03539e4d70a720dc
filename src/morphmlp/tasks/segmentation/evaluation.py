"""Segmenters against annotations: mIoU (Table 5), pixel accuracy, and the figures of each class.

A class is counted at every pixel of an annotation at its own size: the logits are brought there, not the annotation to
the logits.
"""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from morphmlp.checkpoints.folder import CheckpointInfo
from morphmlp.config import MaskConfig, SplitConfig
from morphmlp.data.batches.loaders import BrokenSample
from morphmlp.data.batches.samplers import share_of
from morphmlp.data.sets.splits import evaluated_part
from morphmlp.distributed import failing_together, gather, process_group, rank, world_size
from morphmlp.errors import DataError
from morphmlp.formatting import shortened
from morphmlp.inference.device import AS_USUAL, Execution, evaluating
from morphmlp.inference.runtimes import Runtime
from morphmlp.tasks.segmentation.annotations import (
    IGNORED,
    MaskSet,
    evaluation_mask_split,
    is_mask_data,
    read_mask_set,
    read_mask_sets,
)
from morphmlp.tasks.segmentation.batches import TestMasks, make_image_loader
from morphmlp.tasks.segmentation.prediction import image_logits, most_probable, ready_segmenter, total_cross_entropy


@dataclass
class MaskEvaluation:
    """Predicted against annotated pixels; images that could not be read are kept apart and count nowhere else.

    Attributes:
        labels: class names.
        confusion: pixels `[annotated class, predicted class]`, int64.
        num_images: images that were evaluated.
        broken: path and reason of the others.
        total_loss: cross-entropy summed over the pixels; NaN where it was not given.
    """

    labels: list[str]
    confusion: np.ndarray = field(init=False)
    num_images: int = 0
    broken: list[tuple[Path, str]] = field(default_factory=list)
    total_loss: float = 0.0

    def __post_init__(self) -> None:
        self.confusion = np.zeros((len(self.labels), len(self.labels)), dtype=np.int64)

    def add(self, mask: np.ndarray, predicted: np.ndarray, *, total_loss: float = math.nan) -> None:
        """Counts an image: class indices `[H, W]` as annotated, 255 where there is none, and as predicted."""
        num_classes, known = len(self.labels), mask != IGNORED
        pairs = mask[known].astype(np.int64) * num_classes + predicted[known]
        self.confusion += np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
        self.num_images += 1
        self.total_loss += total_loss

    def mean_iou(self) -> float:
        """Mean intersection over union of the classes that are annotated or predicted somewhere; NaN without any."""
        values = [row["iou"] for row in self.per_class() if row["iou"] is not None]
        return float(np.mean(values)) if values else math.nan

    def pixel_accuracy(self) -> float:
        """Share of the annotated pixels whose class is right; NaN without any."""
        return _share(np.trace(self.confusion), self.confusion.sum(), otherwise=math.nan)

    def loss(self) -> float:
        """Mean cross-entropy of the annotated pixels; NaN without any."""
        return _share(self.total_loss, self.confusion.sum(), otherwise=math.nan)

    def per_class(self) -> list[dict[str, Any]]:
        """For each class: name, annotated pixels, IoU, and accuracy (the share of its pixels that are found).

        A class that is neither annotated nor predicted has None for both; one that is only predicted has an IoU of 0.
        """
        rows = []
        for i, name in enumerate(self.labels):
            pixels, predicted, hits = self.confusion[i].sum(), self.confusion[:, i].sum(), self.confusion[i, i]
            rows.append(
                {
                    "class": name,
                    "pixels": int(pixels),
                    "iou": _share(hits, pixels + predicted - hits),
                    "accuracy": _share(hits, pixels),
                }
            )
        return rows


def _share(part: float, whole: float, *, otherwise: Any = None) -> Any:
    return float(part / whole) if whole else otherwise


def evaluate_checkpoint(
    checkpoint: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    masks: dict[str, Any] | None = None,
    execution: Execution = AS_USUAL,
) -> MaskEvaluation:
    """Evaluates a segmenter's checkpoint folder on annotated images.

    Args:
        split: "train", "val", "test" or "all"; by default the test or validation part where `data` has one, or what was
            held out of it when the checkpoint was trained on it, else all.
        masks: fields of `MaskConfig` that differ from the training's.

    Raises:
        CheckpointError, DataError: no segmenter, or other classes than those of the data.
    """
    ready = ready_segmenter(checkpoint, execution)
    info = ready.info
    reading = MaskConfig.from_dict((info.training.get("masks") or {}) | (masks or {}))
    annotated = _annotated_images(data, split, reading, info)
    if info.labels and annotated.classes != info.labels:
        raise DataError(
            f"{data} names the classes {shortened(annotated.classes)}, but {checkpoint} has {shortened(info.labels)}: "
            "a mask holds numbers, so names and order must be the same"
        )
    model, execution = ready.for_clips(len(annotated.samples))
    share = share_of(len(annotated.samples), rank=rank(), num_processes=world_size())
    loader = make_image_loader(TestMasks(annotated, info.input), workers=execution.workers, share=share)
    with process_group():
        return evaluate(model, loader, annotated, execution)


def _annotated_images(data: str | Path, split: str | None, masks: MaskConfig, info: CheckpointInfo) -> MaskSet:
    """The part of the data that `split` names; one that was drawn when the checkpoint was trained is drawn again."""
    if not is_mask_data(data):
        raise DataError(f"{data} holds no `images` and `annotations` folders, which a segmenter is evaluated on")
    return evaluated_part(
        split,
        present=evaluation_mask_split(data),
        trained_on=info.training.get("data") == os.path.abspath(data),
        draw=lambda: read_mask_sets(data, masks, SplitConfig.from_dict(info.training["split"])),
        read=lambda part: read_mask_set(data, masks, split=part or "all"),
    )


def evaluate(
    model: nn.Module | Runtime, loader: DataLoader | list, mask_set: MaskSet, execution: Execution = AS_USUAL
) -> MaskEvaluation:
    """Evaluates a segmenter on a loader over `TestMasks`, or over this process's share of them.

    Raises:
        DataError: not one of the images can be read.
    """
    result = MaskEvaluation(list(mask_set.classes))
    with failing_together():
        _evaluate_share(result, model, loader, mask_set, execution)
    result = _joined(gather([result]))
    if not result.num_images:
        path, reason = result.broken[0]
        raise DataError(f"none of the {len(result.broken)} images can be read; {path}: {reason}")
    return result


def _evaluate_share(
    result: MaskEvaluation,
    model: nn.Module | Runtime,
    loader: DataLoader | list,
    mask_set: MaskSet,
    execution: Execution,
) -> None:
    """Adds the images of the loader to the result."""
    with torch.no_grad(), evaluating(model):
        for sample in loader:
            if isinstance(sample, BrokenSample):
                result.broken.append((Path(sample.path), sample.reason))
            else:
                path = mask_set.samples[sample.index].path
                logits = image_logits(model, sample.image, path=path, precision=execution.precision)
                truth = torch.from_numpy(sample.mask).to(logits.device)
                loss = total_cross_entropy(logits, truth)
                result.add(sample.mask, most_probable(logits, truth.shape).cpu().numpy(), total_loss=loss)
            execution.progress(result.num_images + len(result.broken), len(loader))


def _joined(parts: list[MaskEvaluation]) -> MaskEvaluation:
    """What all processes counted, each on its images."""
    whole = MaskEvaluation(parts[0].labels)
    for part in parts:
        whole.confusion += part.confusion
        whole.num_images += part.num_images
        whole.total_loss += part.total_loss
        whole.broken += part.broken
    return whole
