"""From annotated images to batches, and to whole images one by one: what the loader's worker processes run.

Everything random of a training crop follows from (seed, epoch, index), as in `loaders`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from morphmlp.config import AugmentConfig, InputConfig
from morphmlp.data.batches.loaders import BrokenSample, make_loader
from morphmlp.data.batches.views import refuse_strips
from morphmlp.data.media.images import read_image
from morphmlp.errors import MediaError
from morphmlp.tasks.segmentation.annotations import MaskSet, read_mask
from morphmlp.tasks.segmentation.crops import training_crop, whole_image

Item = TypeVar("Item")


@dataclass(frozen=True)
class TrainingCrop:
    """A crop of one image `[3, h, w]`, its classes `[h, w]` uint8, and where the image is in its set."""

    image: Tensor
    mask: Tensor
    index: int


@dataclass(frozen=True)
class TestMask:
    """A whole image as the model takes it, `[1, 3, h, w]`, and its annotation at its own size, `[H, W]` uint8."""

    __test__ = False  # no test class, though its name begins like one

    image: Tensor
    mask: np.ndarray
    index: int


class MaskBatch(NamedTuple):
    """Crops of one step: images `[B, 3, h, w]`, masks `[B, h, w]` int64 with `IGNORED`, indices, and broken images."""

    images: Tensor
    masks: Tensor
    indices: list[int]
    broken: list[BrokenSample]


def collate_masks(crops: list[TrainingCrop | BrokenSample]) -> MaskBatch:
    """Joins the crops of the images that could be read."""
    good = [crop for crop in crops if isinstance(crop, TrainingCrop)]
    return MaskBatch(
        images=torch.stack([crop.image for crop in good]) if good else torch.empty(0),
        masks=torch.stack([crop.mask for crop in good]).long() if good else torch.empty(0, dtype=torch.long),
        indices=[crop.index for crop in good],
        broken=[crop for crop in crops if isinstance(crop, BrokenSample)],
    )


class TrainingMasks(Dataset):
    """One random crop of each image; item `epoch * len(samples) + index` is that epoch's crop of an image."""

    def __init__(self, masks: MaskSet, *, config: InputConfig, augment: AugmentConfig, seed: int):
        self.masks = masks
        self.config = config
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.masks.samples)

    def __getitem__(self, position: int) -> TrainingCrop | BrokenSample:
        epoch, index = divmod(position, len(self))
        try:
            image, mask = _read_pair(self.masks, index)
        except MediaError as error:
            return BrokenSample(index, error.path, error.reason)
        generator = np.random.default_rng([self.seed, epoch, index])
        return TrainingCrop(*training_crop(image, mask, self.config, self.augment, generator=generator), index)


class TestMasks(Dataset):
    """Whole images, with annotations at the size that they were drawn in."""

    __test__ = False  # no test class, though its name begins like one

    def __init__(self, masks: MaskSet, config: InputConfig):
        self.masks = masks
        self.config = config

    def __len__(self) -> int:
        return len(self.masks.samples)

    def __getitem__(self, index: int) -> TestMask | BrokenSample:
        try:
            image, mask = _read_pair(self.masks, index)
            refuse_strips(self.masks.samples[index].path, mask.shape)
        except MediaError as error:
            return BrokenSample(index, error.path, error.reason)
        return TestMask(whole_image(image, self.config), mask, index)


def _read_pair(masks: MaskSet, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image `[H, W, 3]` and classes `[H, W]`, both uint8."""
    sample = masks.samples[index]
    image = read_image(sample.path)
    return image, read_mask(sample.mask, masks.config, num_classes=len(masks.classes), size=image.shape[:2])


def make_crop_loader(dataset: TrainingMasks, *, batches: Iterable[list[int]], workers: int) -> DataLoader:
    """A loader of `MaskBatch`es."""
    return make_loader(dataset, batches=batches, workers=workers, collate_fn=collate_masks)


def make_image_loader(dataset: TestMasks, *, workers: int, share: range | None = None) -> DataLoader:
    """A loader of single `TestMask`s and `BrokenSample`s: images differ in size.

    Args:
        share: the images to go through, in this order; None for all.
    """
    chosen = range(len(dataset)) if share is None else share
    part = Subset(dataset, chosen)
    return make_loader(part, batch_size=1, workers=min(workers, len(part)), collate_fn=_only)


def _only(items: list[Item]) -> Item:
    return items[0]
