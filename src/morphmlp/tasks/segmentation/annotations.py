"""Images with a class for each pixel, on disk: which image has which annotation, and how annotations are read.

The names of files pair them up, at any depth; other names of the folders are in `folders`:

    DIR/images/{training,validation,test}/*.jpg, DIR/annotations/.../*.png      ADE20K's; train and val are known, too
    DIR/images/*.jpg, DIR/annotations/*.png                                     split here, by a seeded fraction

The classes are named in DIR/classes.txt, or by the configuration.
"""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from morphmlp.config import MaskConfig, SplitConfig
from morphmlp.data.media.formats import require_filled_file
from morphmlp.data.sets.class_names import CLASSES_FILE, PACKAGED_LABELS, class_names_of, read_class_names
from morphmlp.data.sets.find import find_media
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.matching import composed
from morphmlp.data.sets.splits import evaluation_part, split_set, without_and_with
from morphmlp.errors import DataError, MediaError
from morphmlp.formatting import shortened
from morphmlp.tasks.segmentation.folders import folders_of, pair_in, splits_of

MOST_CLASSES = 254  # 8 bits a pixel, without the two values below
IGNORED = 255  # of a mask: the pixel has no class, is not learnt from and not scored
UNKNOWN = 254  # of `class_of_values`: a value outside the classes

# What Cityscapes adds to the name that an image and its annotation share. Of its annotations the ones with the numbers
# of 19 classes are taken if they have been made, else those with all 34; the others are colours and instances.
_CITYSCAPES_IMAGE = "_leftImg8bit"
_CITYSCAPES_MASKS = ("_gtFine_labelTrainIds", "_gtFine_labelIds", "_gtCoarse_labelTrainIds", "_gtCoarse_labelIds")

# Pillow stretches grey levels of 2 and 4 bits to the range of 8; the annotation's own are these quotients.
_STRETCHED = {"L;2": 85, "L;4": 17}
_ONE_NUMBER_MODES = ("1", "L", "P", "I", "I;16")  # of Pillow, for PNG


@dataclass(frozen=True)
class MaskSample:
    """An image and its annotation."""

    path: Path
    mask: Path


@dataclass(frozen=True)
class MaskSet:
    """Annotated images, the names of the classes 0 to N - 1, and how the annotations are read.

    Attributes:
        left_out: number of files beside the images that are none, by their endings.
    """

    samples: list[MaskSample]
    classes: list[str]
    config: MaskConfig
    kind: Literal["mask"] = "mask"  # beside "video" and "image" of a LabelledSet
    left_out: Mapping[str, int] = field(default_factory=dict, compare=False)


def is_mask_data(root: str | Path) -> bool:
    """Whether a folder holds annotated images, and not class folders or lists.

    Raises:
        DataError: it does, but which folder is which is not certain.
    """
    root = Path(root)
    return root.is_dir() and (pair_in(root) is not None or bool(splits_of(root)))


def read_mask_sets(root: str | Path, masks: MaskConfig, split: SplitConfig) -> tuple[MaskSet, MaskSet]:
    """The training and validation images below `root`, in any layout.

    Raises:
        DataError: an image or annotation lacks its partner, there are too few, or the classes are not known.
    """
    root = Path(root)
    if not splits_of(root):
        return _split_set(read_mask_set(root, masks, split="all"), split, source=str(root))
    return read_mask_set(root, masks, split="train"), read_mask_set(root, masks, split="val")


def read_mask_set(root: str | Path, masks: MaskConfig, *, split: str | None) -> MaskSet:
    """The annotated images of one split: "train", "val" or "test", or "all" of `root`.

    With `split=None`, the one to evaluate on: the test or else the validation part, where there is one, or else all.

    Raises:
        DataError: as for `read_mask_sets`, or there is no such split.
    """
    root = Path(root)
    if not is_mask_data(root):
        raise DataError(f"{root} holds no folders images and annotations; expected both")
    classes = _read_classes(root, masks)
    folders = folders_of(root, split or evaluation_mask_split(root) or "all")
    left_out: Counter[str] = Counter()
    samples = [sample for pair in folders for sample in _pairs(*pair, left_out)]
    return MaskSet(samples, classes, masks, left_out=left_out)


def evaluation_mask_split(root: str | Path) -> str | None:
    """The split of `root` to evaluate on: "test" or "val" where there is one, else None (the whole folder)."""
    splits = splits_of(Path(root))
    return evaluation_part(lambda split: split in splits)


def _split_set(whole: MaskSet, config: SplitConfig, *, source: str) -> tuple[MaskSet, MaskSet]:
    """Split by `data.sets.splits.split_set`, to which all images are one class."""
    samples = [Sample(sample.path, 0) for sample in whole.samples]
    _, val = split_set(LabelledSet(samples, ["images"], kind="image"), config, source=source)
    return without_and_with(whole, {sample.path for sample in val.samples})


def _pairs(images: Path, annotations: Path, left_out: Counter[str]) -> list[MaskSample]:
    """Images and annotations of the same name and folder, in alphabetical order of the images.

    Raises:
        DataError: there are none, one lacks its partner, or two share a name.
    """
    paths = _by_name(find_media(images, "image", left_out=left_out), images, _CITYSCAPES_IMAGE)
    pngs = [path for path in find_media(annotations, "image") if path.suffix.lower() == ".png"]
    ending = next((ending for ending in _CITYSCAPES_MASKS if any(path.stem.endswith(ending) for path in pngs)), "")
    masks = _by_name([path for path in pngs if path.stem.endswith(ending)], annotations, ending)
    if not paths:
        raise DataError(f"{images} holds no images")
    bare, lost = ([name for name in some if name not in others] for some, others in ((paths, masks), (masks, paths)))
    if bare:
        raise DataError(
            f"{len(bare)} of {len(paths)} images in {images} have no annotation: {shortened(bare)}; "
            f"expected {annotations / bare[0]}.png"
        )
    if lost:
        raise DataError(
            f"{len(lost)} of {len(masks)} annotations in {annotations} have no image: {shortened(lost)}; "
            f"expected it in {(images / lost[0]).parent}"
        )
    return [MaskSample(path, masks[name]) for name, path in paths.items()]


def _by_name(paths: list[Path], folder: Path, ending: str) -> dict[str, Path]:
    """`deeper/x` for `folder/deeper/x.jpg`, and for `folder/deeper/x_leftImg8bit.png` with that ending."""
    named: dict[str, Path] = {}
    for path in paths:
        name = composed(path.relative_to(folder).with_suffix("").as_posix().removesuffix(ending))
        if name in named:
            raise DataError(f"{named[name]} and {path.name} share a name: which one is meant? Remove the other")
        named[name] = path
    return named


def _read_classes(root: Path, masks: MaskConfig) -> list[str]:
    path = Path(masks.labels) if masks.labels else root / CLASSES_FILE
    if masks.labels:
        classes = class_names_of(masks.labels, packaged=PACKAGED_LABELS, setting="masks.labels")
    elif path.is_file():
        classes = read_class_names(path)
    else:
        raise DataError(
            f"{path} is missing: write the names of the classes there, one a line, in the order of the annotations' "
            f"values; or set masks.labels to a text file or to {', '.join(map(repr, PACKAGED_LABELS))}"
        )
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise DataError(f"{path} names {len(classes)} classes; allowed: 2 to {MOST_CLASSES}")
    if masks.values and len(masks.values) != len(classes):
        raise DataError(
            f"masks.values holds {len(masks.values)} values; allowed: {len(classes)}, one for each class of {path}"
        )
    return classes


def read_mask(path: str | Path, config: MaskConfig, *, num_classes: int, size: tuple[int, int]) -> np.ndarray:
    """Read an annotation: a PNG with one number a pixel, grey levels of up to 16 bits or the indices of a palette.

    Args:
        size: height and width of its image, upright.

    Returns:
        [H, W] uint8: classes from 0, and 255 for pixels without one.

    Raises:
        MediaError: the file cannot be read, has colours for numbers or another size than its image, or holds a value
            outside the classes.

    >>> np.unique(read_mask("0001TP_006690.png", MaskConfig(ignore_index=11), num_classes=11, size=(240, 320)))
    array([  0,   1,   2,   3,   4,   5,   6,   7,   8,   9,  10, 255], dtype=uint8)
    """
    values = _read_values(path, size)
    labels = class_of_values(config, num_classes)[values]
    if (labels == UNKNOWN).any():
        found = [str(value) for value in np.unique(values[labels == UNKNOWN])]
        raise MediaError(
            path,
            f"holds {shortened(found)}, but the {num_classes} classes are {describe_values(config, num_classes)}; "
            f"see masks.ignore_index (now {config.ignore_index}) for a value without a class, "
            f"masks.reduce_zero_label (now {config.reduce_zero_label}) for classes that count from 1, and masks.values "
            "for any others",
        )
    return labels


@lru_cache(maxsize=4)
def class_of_values(config: MaskConfig, num_classes: int) -> np.ndarray:
    """The class of each value of 16 bits, `[65536]` uint8: `IGNORED` is none, `UNKNOWN` a value past the classes."""
    table = np.full(65536, UNKNOWN, dtype=np.uint8)
    if config.reduce_zero_label:
        table[0] = IGNORED
    table[_values_of_classes(config, num_classes)] = np.arange(num_classes)
    table[[value for value in (config.ignore_index, 255) if value not in config.values]] = IGNORED
    return table


def describe_values(config: MaskConfig, num_classes: int) -> str:
    """The values that mean a class.

    >>> describe_values(MaskConfig(), 3), describe_values(MaskConfig(values=(0, 255)), 2)
    ('0 to 2', '0, 255')
    """
    values = _values_of_classes(config, num_classes)
    return shortened([str(value) for value in values]) if config.values else f"{values[0]} to {values[-1]}"


def _values_of_classes(config: MaskConfig, num_classes: int) -> list[int]:
    first = int(config.reduce_zero_label)
    return list(config.values) or list(range(first, first + num_classes))


def values_in(path: str | Path) -> np.ndarray:
    """The different numbers that an annotation holds, as they are in the file, in order.

    Raises:
        MediaError: the file cannot be read, or has colours for numbers.
    """
    return np.flatnonzero(np.bincount(_read_values(path, None).ravel()))


def _read_values(path: str | Path, size: tuple[int, int] | None) -> np.ndarray:
    """The numbers as they are in the file, `[H, W]`; size and kind are checked before the pixels are decoded.

    Args:
        size: height and width that it must have; None allows any.
    """
    require_filled_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the number of pixels, which is that of the image
            with Image.open(path, formats=("PNG",)) as mask:
                _refuse_colors(path, mask)
                if size is not None:
                    _refuse_size(path, mask, size)
                step = _STRETCHED.get(str(mask.tile[0][3]), 1)  # by the raw mode
                return np.asarray(mask).astype(np.uint16) // step
    except MediaError:
        raise
    except UnidentifiedImageError:
        raise MediaError(path, "is not a PNG, as annotations have to be") from None
    except Exception as error:  # a damaged file makes Pillow's decoder raise almost anything
        raise MediaError(path, f"cannot be decoded as a PNG ({error or type(error).__name__})") from None


def _refuse_colors(path: str | Path, mask: Image.Image) -> None:
    if mask.mode not in _ONE_NUMBER_MODES:
        raise MediaError(
            path,
            f"is a picture of mode {mask.mode}; an annotation has one number a pixel, its class: "
            "save it as a greyscale or palette PNG",
        )


def _refuse_size(path: str | Path, mask: Image.Image, size: tuple[int, int]) -> None:
    if mask.size == size[::-1]:
        return
    reason = f"is {mask.width} x {mask.height} px, but its image is {size[1]} x {size[0]} px"
    if mask.size == size:  # Pillow gives width and height
        reason += "; an image is turned upright as its EXIF tag says, an annotation has to be saved upright"
    raise MediaError(path, reason)
