"""From an image to the class of each pixel."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.errors import CheckpointError
from morphmlp.inference.device import AS_USUAL, Execution, autocast, require_finite
from morphmlp.inference.runtimes import Runtime
from morphmlp.tasks.ready import Ready
from morphmlp.tasks.segmentation.annotations import IGNORED, MOST_CLASSES

VALUES_AT_ONCE = 2**26  # logits at the size of a picture: 256 MB


def ready_segmenter(checkpoint: str | Path, execution: Execution = AS_USUAL) -> Ready:
    """A checkpoint or an exported folder that gives the classes of pixels."""
    ready = Ready(checkpoint, "segmentation", execution)
    model = ready.model
    if model.config.num_classes > MOST_CLASSES:
        raise CheckpointError(
            f"{checkpoint} has {model.config.num_classes} classes; a mask of 8 bits a pixel, {IGNORED} of which means "
            f"no class, holds {MOST_CLASSES} at most"
        )
    return ready


def image_logits(model: nn.Module | Runtime, image: Tensor, *, path: str | Path, precision: str) -> Tensor:
    """A normalised image `[1, 3, h, w]` -> float32 logits `[num_classes, h, w]`, on the model's device.

    Raises:
        NotFiniteError: a logit of the image, that of `path`, is NaN or infinite.
    """
    if isinstance(model, Runtime):
        logits = torch.from_numpy(model.logits(image.numpy()))
        require_finite(logits, [path])
        return logits[0]
    device = next(model.parameters()).device
    with autocast(device, precision):
        logits = model(image.to(device))
    require_finite(logits, [path])
    return logits[0].float()


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
    places = (torch.arange(height, dtype=torch.float32, device=logits.device) + 0.5) * (old_height / height) - 0.5
    for place in places.clamp(0, old_height - 1).split(rows_at_once):
        above = place.long()
        below = (above + 1).clamp(max=old_height - 1)
        rows = torch.lerp(logits[:, above], logits[:, below], (place - above)[:, None])
        strip = F.interpolate(rows[None], size=(len(place), width), mode="bilinear", align_corners=False)
        yield strip[0]  # the height is that of the rows already: only the width has changed
