"""Segmenters in use: the classes of the pixels of image files."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from morphmlp.data.batches.views import refuse_strips
from morphmlp.data.media.images import read_image
from morphmlp.errors import MediaError
from morphmlp.inference.device import Execution, evaluating
from morphmlp.tasks.segmentation.crops import whole_image
from morphmlp.tasks.segmentation.overlays import area_shares
from morphmlp.tasks.segmentation.prediction import image_logits, load_segmenter, most_probable


@dataclass(frozen=True)
class SegmentedImage:
    """A model's answer for one image.

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
        return [(self.labels[i], share) for i, share in area_shares(self.mask, len(self.labels))]


class SegmentPredictor:
    """A segmenter's checkpoint, or what `morphmlp export` made of it, ready for image files.

    Example:
        >>> segment = SegmentPredictor("runs/camvid/best")
        >>> segment("street.jpg").areas()[0]
        ('road', 0.31)

    Args:
        device: "auto", "cpu", "cuda", "mps" or "xpu".
        precision: "fp32", "bf16", or "fp16" by autocast; the first two through `optimize`.

    It neither uses nor changes torch's random state, default dtype and default device. On a CPU the process keeps freed
    memory from then on: see `optimize`.

    Raises:
        CheckpointError: the folder is no checkpoint of a segmenter.
    """

    def __init__(self, checkpoint: str | Path, *, device: str = "auto", precision: str = "fp32"):
        self.model, self.info, self._execution = load_segmenter(checkpoint, Execution(device, precision))
        self.config = self.model.config
        self.labels = self.info.class_names(self.config.num_classes)

    def __call__(self, path: str | Path) -> SegmentedImage:
        """The classes of an image's pixels.

        Raises:
            MediaError: the file cannot be read as an image.
            NotFiniteError: an output is NaN or infinite.
        """
        image = read_image(path)
        refuse_strips(Path(path), image.shape[:2])
        with torch.no_grad(), evaluating(self.model):
            view, precision = whole_image(image, self.info.input), self._execution.precision
            logits = image_logits(self.model, view, path=path, precision=precision)
            mask = most_probable(logits, image.shape[:2]).cpu().numpy()
        return SegmentedImage(Path(path), self.labels, mask, image)

    def many(self, paths: Iterable[Path]) -> Iterator[SegmentedImage | MediaError]:
        """A segmented image for each path, or why it cannot be read, as they are done."""
        for path in paths:
            try:
                yield self(path)
            except MediaError as error:
                yield error
