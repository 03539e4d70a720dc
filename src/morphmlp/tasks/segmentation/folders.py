"""Where the images and the annotations of a segmentation set lie: which two folders hold them, in which parts.

    DIR/images, DIR/annotations       also masks, labels, img_dir and ann_dir, leftImg8bit and gtFine; in any case
    DIR/train/images, DIR/train/masks the same below the parts

Each of the two folders may hold the parts: `images/training`, `annotations/training`.
"""

from pathlib import Path

from morphmlp.data.sets.split_names import SPLIT_NAMES, chosen, split_called, visible
from morphmlp.errors import DataError
from morphmlp.formatting import shortened

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "img_dir", "jpegimages", "leftimg8bit")
MASK_FOLDERS = (
    *("annotations", "annotation", "ann_dir", "masks", "mask", "labels", "label"),
    *("gtfine", "gtcoarse", "gt", "ground_truth", "groundtruth", "segmentationclass"),
)

Pair = tuple[Path, Path]  # a folder of images, and one of annotations


def pair_in(folder: Path) -> Pair | None:
    """The folders of images and of annotations in `folder`; None where one of them is missing.

    Raises:
        DataError: there are several of one kind.
    """
    exact = folder / "images", folder / "annotations"
    if all(part.is_dir() for part in exact):
        return exact
    names = visible(folder, lambda entry: entry.is_dir())
    images = [name for name in names if name.casefold() in IMAGE_FOLDERS]
    masks = [name for name in names if name.casefold() in MASK_FOLDERS]
    if not images or not masks:
        return None
    for found, meaning in ((images, "images"), (masks, "annotations")):
        if len(found) > 1:
            raise DataError(
                f"{folder} holds {' and '.join(found)}: which of them has the {meaning}? "
                f"Call it {meaning}, and its partner {'annotations' if meaning == 'images' else 'images'}"
            )
    return folder / images[0], folder / masks[0]


def splits_of(root: Path) -> list[str]:
    """The parts that `root` has, of "train", "val" and "test"; none where it is not split.

    A test part without annotations, as data sets with a competition have it, does not count.
    """
    pair = pair_in(root)
    if pair is None:
        return list(_split_pairs(root))
    annotated = _by_split(pair[1])
    return [split for split in _by_split(pair[0]) if split != "test" or split in annotated]


def folders_of(root: Path, split: str) -> list[Pair]:
    """The folders of a part, or of "all".

    Raises:
        DataError: there is no such part.
    """
    pair = pair_in(root)
    if pair is not None:
        return [pair if split == "all" else (part_of(pair[0], split), part_of(pair[1], split))]
    splits = _split_pairs(root)
    if split == "all":
        return list(splits.values())
    if split not in splits:
        raise DataError(f"{root} has no {split} with images and annotations; it has: {', '.join(splits)}")
    return [splits[split]]


def _split_pairs(root: Path) -> dict[str, Pair]:
    """The folders of each part, where they lie below the parts."""
    found = ((split, pair_in(root / name)) for split, name in _by_split(root).items())
    return {split: pair for split, pair in found if pair is not None}


def part_of(folder: Path, split: str) -> Path:
    """`images/training` of `images` and "train".

    Raises:
        DataError: there is none, or there are several.
    """
    if name := _by_split(folder).get(split):
        return folder / name
    if (folder / split).is_dir():
        return folder / split
    known = " or ".join(SPLIT_NAMES.get(split, (split,))[:2])
    present = visible(folder, lambda entry: entry.is_dir())
    raise DataError(f"{folder} has no folder {known}; it has: {shortened(present) or 'no folders'}")


def _by_split(folder: Path) -> dict[str, str]:
    """The names of the folders of parts; of several spellings of one the name itself, or that of the usual spelling."""
    found: dict[str, str] = {}
    folders = visible(folder, lambda entry: entry.is_dir())
    for split, usual in SPLIT_NAMES.items():
        names = [name for name in folders if split_called(name) == split]
        names = next(([name] for name in usual if name in names), names)
        if part := chosen(folder, names, split):
            found[split] = part.name
    return found
