"""What `check-data` asks of annotated images: the pairs, why a training would refuse them, the pixels of each class."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morphmlp.config import MaskConfig, SplitConfig
from morphmlp.data.sets.splits import SPLITS
from morphmlp.errors import DataError
from morphmlp.tasks.segmentation.annotations import (
    MaskSet,
    evaluation_mask_split,
    read_mask,
    read_mask_set,
    read_mask_sets,
)
from morphmlp.tasks.segmentation.class_pixels import note_on_classes
from morphmlp.tasks.task import AnnotatedSet


def pairs_to_check(root: Path, split: SplitConfig, config: MaskConfig) -> AnnotatedSet:
    """All annotated images, also where a training would refuse the set, and why it would.

    Raises:
        DataError: there are none.
    """
    refusal = None
    try:
        parts: dict[str, MaskSet] = dict(zip(SPLITS, read_mask_sets(root, config, split), strict=False))
        refusal = _nothing_to_tell_apart(parts["train"])
        if evaluation_mask_split(root) == "test":
            parts["test"] = read_mask_set(root, config, split="test")
    except DataError as error:
        refusal = str(error)
        parts = {"all": read_mask_set(root, config, split="all")}
    classes = next(iter(parts.values())).classes
    pairs = {name: [(sample.path, sample.mask) for sample in part.samples] for name, part in parts.items()}
    return AnnotatedSet(pairs, classes, refusal, CountPixels(config, len(classes)))


def _nothing_to_tell_apart(masks: MaskSet) -> str | None:
    try:
        note_on_classes(masks)
    except DataError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class CountPixels:
    """Counts the pixels of each class in an annotation, see `CountAnnotation`."""

    config: MaskConfig
    num_classes: int

    def __call__(self, path: Path, size: tuple[int, int]) -> tuple[int, ...]:
        mask = read_mask(path, self.config, num_classes=self.num_classes, size=size)
        values = np.minimum(mask, self.num_classes).ravel()  # 255, which is no class, becomes the last
        return tuple(np.bincount(values, minlength=self.num_classes + 1).tolist())
