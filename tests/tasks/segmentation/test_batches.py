"""What comes out of the loaders: crops that follow from seed, epoch and index, whole images, and broken files aside."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from morphmlp.config import AugmentConfig, InputConfig, MaskConfig
from morphmlp.data.batches.loaders import BrokenSample
from morphmlp.data.batches.samplers import EpochBatches
from morphmlp.tasks.segmentation.annotations import IGNORED, MaskSet, read_mask_set
from morphmlp.tasks.segmentation.batches import (
    MaskBatch,
    TestMask,
    TestMasks,
    TrainingCrop,
    TrainingMasks,
    collate_masks,
    make_crop_loader,
    make_image_loader,
)
from morphmlp.tasks.segmentation.crops import training_crop, whole_image

# These say something of the machine that the tests run on, not of the loaders.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

INPUT = InputConfig(fit="whole", resize=40, crop=(32, 48))
AUGMENT = AugmentConfig(flip=0.5, color=0.5)
SIZES = [(40, 60), (60, 40), (50, 50), (33, 70), (45, 45)]


def drawn(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and annotation of three classes, and 3 for none."""
    generator = np.random.default_rng(index)
    image = generator.integers(0, 256, (*SIZES[index], 3), dtype=np.uint8)
    return image, generator.integers(0, 4, SIZES[index], dtype=np.uint8)


@pytest.fixture
def masks(tmp_path: Path) -> MaskSet:
    """Five images without loss; a test may overwrite them."""
    (tmp_path / "classes.txt").write_text("a\nb\nc\n", encoding="utf-8")
    for part in ("images", "annotations"):
        (tmp_path / part).mkdir()
    for index in range(len(SIZES)):
        image, mask = drawn(index)
        Image.fromarray(image).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / "annotations" / f"{index}.png")
    return read_mask_set(tmp_path, MaskConfig(ignore_index=3), split=None)


def training_masks(masks: MaskSet, *, seed: int = 0) -> TrainingMasks:
    return TrainingMasks(masks, config=INPUT, augment=AUGMENT, seed=seed)


def crop_of(item: Any) -> tuple[torch.Tensor, torch.Tensor]:
    assert isinstance(item, TrainingCrop)
    return item.image, item.mask


def whole(item: Any) -> TestMask:
    assert isinstance(item, TestMask)
    return item


def expected_mask(index: int) -> np.ndarray:
    mask = drawn(index)[1]
    return np.where(mask == 3, np.uint8(IGNORED), mask)


# Training crops


def test_a_training_crop_is_that_of_its_seed_epoch_and_index(masks: MaskSet):
    item = training_masks(masks, seed=4)[3 * len(SIZES) + 2]
    generator = np.random.default_rng([4, 3, 2])
    pixels, labels = training_crop(drawn(2)[0], expected_mask(2), INPUT, AUGMENT, generator=generator)
    assert isinstance(item, TrainingCrop)
    assert item.index == 2
    assert torch.equal(item.image, pixels)
    assert torch.equal(item.mask, labels)


def test_seeds_and_epochs_have_their_own_crops(masks: MaskSet):
    crops = [crop_of(training_masks(masks, seed=seed)[epoch * 5]) for seed in (0, 1) for epoch in (0, 1)]
    for i, (image, _) in enumerate(crops):
        assert not any(torch.equal(image, other) for other, _ in crops[:i])


def test_a_batch_holds_crops_classes_and_indices(masks: MaskSet):
    dataset = training_masks(masks)
    batch = next(iter(make_crop_loader(dataset, batches=[[0, 1, 2]], workers=0)))
    assert isinstance(batch, MaskBatch)
    assert (batch.images.shape, batch.images.dtype) == ((3, 3, 32, 48), torch.float32)
    assert (batch.masks.shape, batch.masks.dtype) == ((3, 32, 48), torch.int64)
    assert set(batch.masks.unique().tolist()) == {0, 1, 2, IGNORED}
    assert (batch.indices, batch.broken) == ([0, 1, 2], [])
    for i in range(3):
        image, mask = crop_of(dataset[i])
        assert torch.equal(batch.images[i], image)
        assert torch.equal(batch.masks[i], mask.long())


def test_workers_give_the_same_batches_in_the_order_of_the_sampler(masks: MaskSet):
    runs = []
    for workers in (0, 1):
        items = EpochBatches(len(SIZES), batch_size=2, seed=0)
        loader = make_crop_loader(training_masks(masks), batches=items, workers=workers)
        batches = []
        for epoch in (0, 1):
            items.start_at(epoch=epoch)
            batches += list(loader)
            order = [item % len(SIZES) for batch in items for item in batch]
            assert [index for batch in batches[-3:] for index in batch.indices] == order
        runs.append(batches)
    for first, second in zip(*runs, strict=True):
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.masks, second.masks)


# Whole images


def test_whole_images_come_one_by_one_with_masks_of_their_own_size(masks: MaskSet):
    for workers in (0, 1):
        items = [whole(item) for item in make_image_loader(TestMasks(masks, INPUT), workers=workers)]
        assert [item.index for item in items] == list(range(len(SIZES)))
        for i, item in enumerate(items):
            assert torch.equal(item.image, whole_image(drawn(i)[0], INPUT))
            assert isinstance(item.mask, np.ndarray)
            assert item.mask.dtype == np.uint8
            np.testing.assert_array_equal(item.mask, expected_mask(i))


# Files that cannot be used


def test_a_broken_image_or_annotation_is_reported_and_the_others_go_on(masks: MaskSet):
    masks.samples[0].path.write_bytes(b"")
    Image.fromarray(np.full(SIZES[1], 9, dtype=np.uint8)).save(masks.samples[1].mask)
    Image.fromarray(np.zeros((5, 5), dtype=np.uint8)).save(masks.samples[3].mask)
    batch = next(iter(make_crop_loader(training_masks(masks), batches=[list(range(5))], workers=0)))
    assert batch.indices == [2, 4]
    assert batch.images.shape == (2, 3, 32, 48)
    assert [(item.index, item.path) for item in batch.broken] == [
        (0, masks.samples[0].path),
        (1, masks.samples[1].mask),
        (3, masks.samples[3].mask),
    ]
    assert [item.reason.split(";")[0] for item in batch.broken] == [
        "is empty (0 bytes)",
        "holds 9, but the 3 classes are 0 to 2",
        "is 5 x 5 px, but its image is 70 x 33 px",
    ]
    items = list(make_image_loader(TestMasks(masks, INPUT), workers=0))
    assert [isinstance(item, BrokenSample) for item in items] == [True, True, False, True, False]
    assert [item for item in items if isinstance(item, BrokenSample)] == batch.broken


def test_a_batch_of_broken_files_only_is_empty():
    broken = [BrokenSample(0, Path("a.jpg"), "is empty (0 bytes)")]
    batch = collate_masks([*broken])
    assert (len(batch.images), len(batch.masks), batch.indices, batch.broken) == (0, 0, [], broken)
    assert batch.masks.dtype == torch.int64


def test_a_strip_is_refused_where_its_whole_would_be_huge(masks: MaskSet):
    for path, shape in ((masks.samples[0].path, (1, 21, 3)), (masks.samples[0].mask, (1, 21))):
        Image.fromarray(np.zeros(shape, dtype=np.uint8)).save(path)
    reason = "is 21 x 1 px: one side is more than 20 times the other"
    assert TestMasks(masks, INPUT)[0] == BrokenSample(0, masks.samples[0].path, reason)
    assert crop_of(training_masks(masks)[0])[0].shape == (3, 32, 48)  # its crops are small in any case


@pytest.mark.parametrize("mode", ["L", "CMYK", "P"])
def test_images_of_other_colour_modes_go_with_their_masks(masks: MaskSet, mode: str):
    path = masks.samples[0].path.with_suffix(".tif")
    Image.fromarray(drawn(0)[0]).convert(mode).save(path)
    path.replace(masks.samples[0].path)
    assert crop_of(training_masks(masks)[0])[0].shape == (3, 32, 48)
    np.testing.assert_array_equal(whole(TestMasks(masks, INPUT)[0]).mask, expected_mask(0))


def test_an_image_turned_by_exif_needs_an_annotation_that_is_upright(masks: MaskSet):
    image, sample = drawn(0)[0], masks.samples[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    Image.fromarray(np.ascontiguousarray(np.rot90(image))).save(sample.path, exif=exif)
    assert torch.equal(whole(TestMasks(masks, INPUT)[0]).image, whole_image(image, INPUT))
    with Image.open(sample.mask) as mask:
        lying = mask.transpose(Image.Transpose.ROTATE_90)
    lying.save(sample.mask)
    item = TestMasks(masks, INPUT)[0]
    assert isinstance(item, BrokenSample)
    assert item.path == sample.mask
    assert item.reason.startswith("is 40 x 60 px, but its image is 60 x 40 px; an image is turned upright")
