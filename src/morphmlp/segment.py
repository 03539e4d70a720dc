"""Segmenters in use: the classes of the pixels of image files."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.checkpoints import CheckpointInfo, load_with_info
from morphmlp.data.images import read_image
from morphmlp.data.loaders import refuse_strips
from morphmlp.data.mask_transforms import IGNORED, whole_image
from morphmlp.data.masks import MOST_CLASSES
from morphmlp.errors import CheckpointError, MediaError
from morphmlp.evaluate import autocast, evaluating, for_inference, resolve_device
from morphmlp.formatting import encodable, percent
from morphmlp.model import MorphMLP
from morphmlp.overlays import class_shares

if TYPE_CHECKING:
    from rich.table import Table

VALUES_AT_ONCE = 2**26  # logits at the size of a picture: 256 MB


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
        precision: "fp32", "bf16", or "fp16" by autocast; the first two through `optimize`.

    Raises:
        CheckpointError: the folder is no checkpoint of a segmenter.
    """

    def __init__(self, checkpoint: str | Path, *, device: str = "auto", precision: str = "fp32"):
        model, self.info = load_segmenter(checkpoint)
        self.config = model.config
        self.model, self._precision = for_inference(model.to(resolve_device(device)), precision)
        self.labels = self.info.labels or [str(i) for i in range(self.config.num_classes)]

    def __call__(self, path: str | Path) -> SegmentedImage:
        """The classes of an image's pixels.

        Raises:
            MediaError: the file cannot be read as an image.
        """
        image = read_image(path)
        refuse_strips(Path(path), image.shape[:2])
        with torch.no_grad(), evaluating(self.model):
            logits = image_logits(self.model, whole_image(image, self.info.input), precision=self._precision)
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
