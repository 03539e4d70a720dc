"""Segmenters in use: the classes of the pixels of image files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from morphmlp.data.batches.views import refuse_strips
from morphmlp.data.media.images import read_image
from morphmlp.errors import MediaError
from morphmlp.inference.device import Execution, evaluating
from morphmlp.tasks.segmentation.crops import whole_image
from morphmlp.tasks.segmentation.overlays import area_shares
from morphmlp.tasks.segmentation.prediction import image_logits, most_probable, ready_segmenter


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
        precision: "fp32", "bf16", or "fp16" by autocast.
        engine: as of `Predictor`.

    It neither uses nor changes torch's random state, default dtype and default device. Where `optimize` computes, the
    process keeps freed memory from then on: see there.

    Raises:
        CheckpointError: the folder is no checkpoint of a segmenter.
    """

    def __init__(self, checkpoint: str | Path, *, device: str = "auto", precision: str = "fp32", engine: str = "auto"):
        self._ready = ready_segmenter(checkpoint, Execution(device, precision, engine=engine))
        self.model, self.info, self._execution = self._ready.model, self._ready.info, self._ready.execution
        self.config = self.model.config
        self.labels = self.info.class_names(self.config.num_classes)

    @property
    def engine(self) -> str:
        """As it was asked for, so that "auto" stays "auto"."""
        return self._ready.asked.engine

    @property
    def precision(self) -> str:
        """Of the computation, as it was asked for."""
        return self._ready.asked.precision

    def __call__(self, path: str | Path) -> SegmentedImage:
        """The classes of an image's pixels.

        Raises:
            MediaError: the file cannot be read as an image.
            NotFiniteError: an output is NaN or infinite.
        """
        return self._segment(path, self.model, self._execution)

    def _segment(self, path: str | Path, model: Any, execution: Execution) -> SegmentedImage:
        image = read_image(path)
        refuse_strips(Path(path), image.shape[:2])
        with torch.no_grad(), evaluating(model):
            view = whole_image(image, self.info.input)
            logits = image_logits(model, view, path=path, precision=execution.precision)
            mask = most_probable(logits, image.shape[:2]).cpu().numpy()
        return SegmentedImage(Path(path), self.labels, mask, image)

    def many(self, paths: Sequence[Path]) -> Iterator[SegmentedImage | MediaError]:
        """A segmented image for each path, or why it cannot be read, as they are done."""
        model, execution = self._ready.for_clips(len(paths))
        for path in paths:
            try:
                yield self._segment(path, model, execution)
            except MediaError as error:
                yield error
