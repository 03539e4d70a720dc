"""Segmenters in use: evaluation against annotations (Table 5's mIoU), and masks of image files.

A class is counted at every pixel of an annotation at its own size: the logits are brought there, not the annotation to
the logits.
"""

import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.checkpoints import CheckpointInfo, load_with_info
from morphmlp.config import MaskConfig, SplitConfig
from morphmlp.data.images import read_image
from morphmlp.data.loaders import BrokenSample, refuse_strips
from morphmlp.data.mask_loaders import TestMasks, make_test_loader
from morphmlp.data.mask_transforms import IGNORED, whole_image
from morphmlp.data.masks import (
    MOST_CLASSES,
    MaskSet,
    evaluation_mask_split,
    is_mask_data,
    read_mask_set,
    read_mask_sets,
)
from morphmlp.errors import CheckpointError, DataError, MediaError
from morphmlp.evaluate import autocast, resolve_device
from morphmlp.files import replaced_file
from morphmlp.formatting import encodable, percent, shortened
from morphmlp.model import MorphMLP
from morphmlp.overlays import class_shares, plot_mask_confusion
from morphmlp.tables import MOST_CLASSES_IN_FULL

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

VALUES_AT_ONCE = 2**26  # logits at the size of a picture: 256 MB


@dataclass
class MaskEvaluation:
    """Predicted against annotated pixels; images that could not be read stand apart and count nowhere else.

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


def evaluate_mask_checkpoint(
    checkpoint: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    masks: MaskConfig | None = None,
    workers: int = 2,
    device: str = "auto",
    precision: str = "fp32",
    progress: Callable[[int, int], None] | None = None,
) -> MaskEvaluation:
    """Evaluates a segmenter's checkpoint folder on annotated images.

    Args:
        split: "train", "val", "test" or "all"; by default the test or validation part where `data` has one, or what was
            held out of it when the checkpoint was trained on it, else all.
        masks: how the annotations are read; by default as in the training.

    Raises:
        CheckpointError, DataError: no segmenter, or other classes than those of the data.
    """
    model, info = load_segmenter(checkpoint)
    masks = masks or MaskConfig.from_dict(info.training.get("masks") or {})
    annotated = _annotated_images(data, split, masks, info)
    if info.labels and annotated.classes != info.labels:
        raise DataError(
            f"{data} names the classes {shortened(annotated.classes)}, but {checkpoint} has {shortened(info.labels)}: "
            "a mask holds numbers, so names and order must be the same"
        )
    model.to(resolve_device(device))
    loader = make_test_loader(TestMasks(annotated, info.input), workers=workers)
    return evaluate_masks(model, loader, annotated, precision=precision, progress=progress)


def _annotated_images(data: str | Path, split: str | None, masks: MaskConfig, info: CheckpointInfo) -> MaskSet:
    """The part of the data that `split` names; one that was drawn when the checkpoint was trained is drawn again."""
    if not is_mask_data(data):
        raise DataError(f"{data} holds no `images` and `annotations` folders, which a segmenter is evaluated on")
    drawn_in_training = evaluation_mask_split(data) is None and info.training.get("data") == os.path.abspath(data)
    if drawn_in_training and split in (None, "train", "val"):
        train, val = read_mask_sets(data, masks, SplitConfig.from_dict(info.training["split"]))
        return train if split == "train" else val
    return read_mask_set(data, masks, split=split)


def evaluate_masks(
    model: nn.Module,
    loader: Iterable,
    mask_set: MaskSet,
    *,
    precision: str = "fp32",
    progress: Callable[[int, int], None] | None = None,
) -> MaskEvaluation:
    """Evaluates a segmenter on a loader over `TestMasks`.

    Raises:
        DataError: not one of the images can be read.
    """
    result = MaskEvaluation(list(mask_set.classes))
    with _evaluating(model):
        for sample in loader:
            if isinstance(sample, BrokenSample):
                result.broken.append((sample.path, sample.reason))
            else:
                logits = image_logits(model, sample.image, precision=precision)
                truth = torch.from_numpy(sample.mask).to(logits.device)
                loss = total_cross_entropy(logits, truth)
                result.add(sample.mask, most_probable(logits, truth.shape).cpu().numpy(), total_loss=loss)
            if progress:
                progress(result.num_images + len(result.broken), len(mask_set.samples))
    if not result.num_images:
        path, reason = result.broken[0]
        raise DataError(f"none of the {len(result.broken)} images can be read; {path}: {reason}")
    return result


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, without gradients; afterwards in the mode that it was in."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def image_logits(model: nn.Module, image: Tensor, *, precision: str) -> Tensor:
    """A normalised image `[1, 3, h, w]` -> float32 logits `[num_classes, h, w]`, on the model's device."""
    device = next(model.parameters()).device
    with autocast(device, precision):
        return model(image.to(device))[0].float()


def most_probable(logits: Tensor, size: Sequence[int]) -> Tensor:
    """`[num_classes, h, w]` -> the class of each pixel, uint8 `[H, W]`, of the logits resized to `size`.

    Of equal logits the first class is taken.
    """
    return torch.cat([strip.max(dim=0).indices.to(torch.uint8) for strip in _resized_strips(logits, size)])


def total_cross_entropy(logits: Tensor, mask: Tensor) -> float:
    """Summed over the pixels that have a class: `[num_classes, h, w]`, resized to the mask, uint8 `[H, W]`."""
    total, top = 0.0, 0
    for strip in _resized_strips(logits, mask.shape):
        truth = mask[None, top : top + strip.shape[1]].long()
        total += float(F.cross_entropy(strip[None], truth, ignore_index=IGNORED, reduction="sum"))
        top += strip.shape[1]
    return total


def _resized_strips(logits: Tensor, size: Sequence[int]) -> Iterator[Tensor]:
    """The logits, bilinearly resized to `size`, in strips of some rows, `[num_classes, rows, W]`, from the top down.

    150 classes of 4000 x 3000 px would take 7.2 GB at once; the strips have 111 rows. Row y of the resized logits has
    its centre at (y + 1/2) h / H, where that of row i is at i + 1/2.
    """
    (num_classes, old_height, _), (height, width) = logits.shape, size
    rows_at_once = max(1, VALUES_AT_ONCE // (num_classes * width))
    places = (torch.arange(height, device=logits.device) + 0.5) * (old_height / height) - 0.5
    for place in places.clamp(0, old_height - 1).split(rows_at_once):
        above = place.long()
        below = (above + 1).clamp(max=old_height - 1)
        rows = torch.lerp(logits[:, above], logits[:, below], (place - above)[:, None])
        strip = F.interpolate(rows[None], size=(len(place), width), mode="bilinear", align_corners=False)
        yield strip[0]  # the height is that of the rows already: only the width has changed


@dataclass(frozen=True)
class SegmentedImage:
    """What a model says of one image.

    Attributes:
        labels: class names, or numbers where the checkpoint has no names.
        mask: the class of each pixel, uint8 `[H, W]`, at the image's own size.
        image: uint8 `[H, W, 3]`, upright.
    """

    path: Path
    labels: list[str]
    mask: np.ndarray
    image: np.ndarray

    def areas(self) -> list[tuple[str, float]]:
        """The classes in the image with their shares of its area, largest first."""
        return [(self.labels[i], share) for i, share in class_shares(self.mask, len(self.labels))]


class SegmentPredictor:
    """A segmenter's checkpoint, ready for image files.

    Example:
        >>> segment = SegmentPredictor("runs/camvid/best")
        >>> segment("street.jpg").areas()[0]
        ('road', 0.31)

    Args:
        device: "auto", "cpu" or "cuda".
        precision: "fp32", or mixed with "bf16" or "fp16".

    Raises:
        CheckpointError: the folder is no checkpoint of a segmenter.
    """

    def __init__(self, checkpoint: str | Path, *, device: str = "auto", precision: str = "fp32"):
        self.model, self.info = load_segmenter(checkpoint)
        self.model.to(resolve_device(device))
        self.precision = precision
        self.labels = self.info.labels or [str(i) for i in range(self.model.config.num_classes)]

    def __call__(self, path: str | Path) -> SegmentedImage:
        """The classes of an image's pixels.

        Raises:
            MediaError: the file cannot be read as an image.
        """
        image = read_image(path)
        refuse_strips(Path(path), image.shape[:2])
        with _evaluating(self.model):
            logits = image_logits(self.model, whole_image(image, self.info.input), precision=self.precision)
            mask = most_probable(logits, image.shape[:2]).cpu().numpy()
        return SegmentedImage(Path(path), self.labels, mask, image)

    def many(self, paths: Iterable[Path]) -> Iterator[SegmentedImage | MediaError]:
        """A segmented image for each path, or why it cannot be read, as they are done."""
        for path in paths:
            try:
                yield self(path)
            except MediaError as error:
                yield error


def load_segmenter(checkpoint: str | Path) -> tuple[MorphMLP, CheckpointInfo]:
    """Loads a checkpoint folder and makes sure that it gives the classes of pixels."""
    model, info = load_with_info(checkpoint)
    if model.config.task != "segmentation":
        raise CheckpointError(f"{checkpoint} is a classifier ({model.config.name}); use `morphmlp predict`")
    if model.config.num_classes > MOST_CLASSES:
        raise CheckpointError(
            f"{checkpoint} has {model.config.num_classes} classes; a mask of 8 bits a pixel, {IGNORED} of which means "
            f"no class, holds {MOST_CLASSES} at most"
        )
    return model, info


def mask_summary(evaluation: MaskEvaluation) -> dict[str, Any]:
    """The figures of an evaluation as plain values; None where there is nothing to divide."""
    figures = {
        "mean_iou": evaluation.mean_iou(),
        "pixel_accuracy": evaluation.pixel_accuracy(),
        "loss": evaluation.loss(),
    }
    return {
        "images": evaluation.num_images + len(evaluation.broken),
        "evaluated": evaluation.num_images,
        **{name: None if math.isnan(value) else value for name, value in figures.items()},
        "classes": evaluation.per_class(),
        "not_evaluated": [{"path": str(path), "reason": reason} for path, reason in evaluation.broken],
    }


def write_mask_evaluation(evaluation: MaskEvaluation, folder: str | Path) -> None:
    """Writes `summary.json`, `per_class.csv` (class, pixels, IoU, accuracy) and `confusion.png` into a folder."""
    folder = Path(folder)
    with replaced_file(folder / "summary.json") as file:
        json.dump(mask_summary(evaluation), file, indent=2)
    with replaced_file(folder / "per_class.csv") as file:
        rows = csv.DictWriter(file, ["class", "pixels", "iou", "accuracy"])
        rows.writeheader()
        rows.writerows(evaluation.per_class())
    title = f"Mean IoU {percent(evaluation.mean_iou())} of {evaluation.num_images:,} images"
    plot_mask_confusion(evaluation.confusion, evaluation.labels, folder / "confusion.png", title=title)


def mask_tables(evaluation: MaskEvaluation) -> "list[RenderableType]":
    """For the terminal: what was evaluated, the figures, and IoU and accuracy of the classes."""
    from rich.text import Text

    done, broken = evaluation.num_images, [f"{path}: {reason}" for path, reason in evaluation.broken]
    lines = [f"{done} of {done + len(broken)} images evaluated"]
    if broken:
        lines.append(f"  not evaluated: {shortened(broken, limit=3)}")
    figures = f"mean IoU {percent(evaluation.mean_iou())}   pixel accuracy {percent(evaluation.pixel_accuracy())}"
    lines.append(f"{figures}   loss {evaluation.loss():.3f}")
    rows = evaluation.per_class()
    if without := sum(row["iou"] is None for row in rows):
        lines.append(f"{without} of {len(rows)} classes are neither annotated nor predicted here")
    return [Text(encodable("\n".join(lines))), *_class_tables(rows)]


def _class_tables(rows: list[dict[str, Any]]) -> "list[Table]":
    """One table, or where it would be long, the classes that are recognised best and worst."""
    if len(rows) <= MOST_CLASSES_IN_FULL:
        return [_class_table(rows, title="Classes")]
    ranked = sorted((row for row in rows if row["iou"] is not None), key=lambda row: -row["iou"])
    if len(ranked) <= MOST_CLASSES_IN_FULL:
        return [_class_table(ranked, title=f"The {len(ranked)} classes that are annotated or predicted")]
    return [
        _class_table(ranked[:10], title=f"The 10 best of {len(ranked)} classes"),
        _class_table(ranked[-10:], title=f"The 10 worst of {len(ranked)} classes"),
    ]


def _class_table(rows: list[dict[str, Any]], *, title: str) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    table.add_column("class", overflow="fold")
    for name in ("pixels", "IoU", "accuracy"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            Text(encodable(row["class"])), f"{row['pixels']:,}", percent(row["iou"]), percent(row["accuracy"])
        )
    return table


def area_table(rows: Iterable[dict[str, Any]], *, top: int = 3) -> "Table":
    """For the terminal: the largest classes of each image, from rows of its `path` and its `areas` by class."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("image", overflow="fold")
    table.add_column("largest classes", overflow="fold")
    for row in rows:
        areas = ", ".join(f"{name} {percent(share)}" for name, share in list(row["areas"].items())[:top])
        table.add_row(Text(encodable(row["path"])), Text(encodable(areas)))
    return table
