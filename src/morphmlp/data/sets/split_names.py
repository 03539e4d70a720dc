"""What the parts of a set are called on disk: `train`, but also `Train`, `TRAIN`, `training`.

A folder or a list with exactly the name of a part is always that part. Another spelling may be the name of a class,
such as `Training` beside `Swimming`: it is a part only where the other parts are there as well, or nothing else is.
"""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from morphmlp.errors import DataError
from morphmlp.formatting import shortened

SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "validation", "valid", "validate"),
    "test": ("test", "testing"),
}

# Of folders that are no classes, but whose names leave open which part is meant.
_LIKE_A_PART = re.compile(
    "(train(ing)?|val(id(ation)?)?|dev|eval(uation)?|test(ing)?)"
    "([ _.-]?(set|data|split|part|videos?|images?|clips))?[ _-]?[0-9]*",
    re.IGNORECASE,
)


def split_called(name: str) -> str | None:
    """The part that a name stands for: "val" for `Validation`; None for others."""
    return next((split for split, names in SPLIT_NAMES.items() if name.casefold() in names), None)


def split_folder(root: Path, split: str) -> Path | None:
    """The folder of a part in `root`, however it is spelled; None where there is none.

    Raises:
        DataError: two folders could be it.
    """
    if (root / split).is_dir():
        return root / split
    folders = visible(root, lambda entry: entry.is_dir())
    with_folders = [name for name in folders if split_called(name) and _holds_more_than_files(root / name)]
    if len({split_called(name) for name in with_folders}) < 2 and len(with_folders) < len(folders):
        return None
    return chosen(root, [name for name in with_folders if split_called(name) == split], split)


def _holds_more_than_files(folder: Path) -> bool:
    """Whether a folder may be a part: it holds class folders or shards."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.is_dir() or entry.name.lower().endswith(".tar") for entry in entries)
    except OSError:
        return False


def chosen(root: Path, names: Sequence[str], split: str) -> Path | None:
    """The only one of the entries of `root` that could be a part.

    Raises:
        DataError: there are several.
    """
    if len(names) > 1:
        raise DataError(f"{root} holds {' and '.join(names)}: which of them is {split}? Rename the others")
    return root / names[0] if names else None


def refuse_parts(root: Path, folders: Sequence[Path]) -> None:
    """Raises DataError where the class folders of `root` are the parts of a set, and not classes."""
    names = [folder.name for folder in folders]
    like = [name for name in names if _LIKE_A_PART.fullmatch(name)]
    parts = [name for name in like if split_called(name) and _holds_more_than_files(root / name)]
    if len(like) == len(names) > 1 or len({split_called(name) for name in parts}) > 1:
        raise DataError(
            f"{root}: {shortened(like)} look like the parts of a set, not like classes; call them train and val "
            "(and test), or give one of them"
        )


def visible(root: Path, wanted: Callable[[os.DirEntry], bool]) -> list[str]:
    """The names in a folder, in alphabetical order, without hidden ones; none where it cannot be listed."""
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and wanted(entry))
    except OSError:
        return []
