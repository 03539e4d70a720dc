"""Two folders that are images and their masks, and not two classes of images."""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from morphmlp.errors import DataError

_LOOKED_AT = 8  # pairs, of which one that is no image and mask is enough
_NUMBERS = ("1", "L", "P", "I", "I;16")  # Pillow's modes with one number a pixel
_PAIRED = 0.9  # share of the names that must meet


def refuse_masks(root: Path, files: Mapping[str, Sequence[Path]]) -> None:
    """Raises DataError where the files of two class folders are images and masks: they meet by name, kind and size."""
    if len(files) != 2:
        return
    names = list(files)
    for images, masks in (names, names[::-1]):
        if _are_masks(root / images, files[images], root / masks, files[masks]):
            raise DataError(
                f"{root}: the pictures in {masks} look like masks of those in {images}, not like a class; to train a "
                "segmenter, call the folders images and annotations and write the names of the classes into classes.txt"
            )


def _are_masks(images: Path, paths: Sequence[Path], masks: Path, others: Sequence[Path]) -> bool:
    if not paths or not others or any(path.suffix.lower() != ".png" for path in others):
        return False
    image_of = {_name(path, images): path for path in paths}
    mask_of = {_name(path, masks): path for path in others}
    first, first_mask = min(image_of), min(mask_of)
    ending = first_mask.removeprefix(first) if first_mask.startswith(first) else ""
    pairs = [(path, mask_of[name + ending]) for name, path in image_of.items() if name + ending in mask_of]
    if len(pairs) < _PAIRED * max(len(paths), len(others)):
        return False
    return all(_is_pair(*pair) for pair in pairs[:_LOOKED_AT])


def _name(path: Path, folder: Path) -> str:
    return os.path.splitext(path.relative_to(folder))[0]


def _is_pair(image: Path, mask: Path) -> bool:
    """Whether one is in colours and the other has one number a pixel, at the same size; by their headers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of many pixels: none is decoded
            with Image.open(image) as one, Image.open(mask) as other:
                return one.size == other.size and one.mode not in _NUMBERS and other.mode in _NUMBERS
    except Exception:  # a file that is no picture makes Pillow raise almost anything
        return False
