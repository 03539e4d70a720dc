"""Labelled videos or images on disk: class folders, lists or tar shards; and the split into training and validation.

The layouts are told apart by what the folder holds, as are videos (shown here) and images:

    DIR/train/<class>/*.mp4, DIR/val/<class>/*.mp4      split by the user
    DIR/train.csv, DIR/val.csv                           lists, also .txt and .json: see `list_rows`
    DIR/train/*.tar, DIR/val/*.tar                       shards, also DIR/train-*.tar: see `shards`
    DIR/<class>/*.mp4                                    split here, by a seeded fraction
"""

import os
from dataclasses import replace
from pathlib import Path

from morphmlp.config import ListConfig, SplitConfig
from morphmlp.data.media.sources import FrameFolder
from morphmlp.data.sets.class_folders import read_class_folders
from morphmlp.data.sets.class_names import find_class_names
from morphmlp.data.sets.labelled import LabelledSet
from morphmlp.data.sets.lists import read_list
from morphmlp.data.sets.shards import find_shards, read_shards
from morphmlp.data.sets.splits import split_set
from morphmlp.errors import DataError
from morphmlp.formatting import shortened

LIST_SUFFIXES = (".csv", ".txt", ".json")


def read_training_sets(
    root: str | Path, config: SplitConfig | None = None, lists: ListConfig | None = None
) -> tuple[LabelledSet, LabelledSet]:
    """The training and validation sets below `root`, in any of the layouts.

    Raises:
        DataError: nothing usable is found, there are fewer than two classes, a class lacks files, there are both
            videos and images, a row of a list cannot be used, or names in one part meet numbers in the other.
    """
    root, lists = _existing(root), lists or ListConfig()
    if _has_split(root, "train", lists):
        train = read_set(root, split="train", lists=lists)
        if not _has_split(root, "val", lists):
            raise DataError(f"{root} has train but no val; add {root / 'val'}, or give one folder of class folders")
        val = read_set(root, split="val", lists=lists)
        if train.kind != val.kind:
            raise DataError(f"{root}: train holds {train.unit}, but val {val.unit}; both need one kind")
        val = matched(val, train, root=root, name="val")
        both = _identities(train) & _identities(val)
        if both:
            raise DataError(
                f"{root}: {len(both)} {train.unit} are in both train and val, such as {min(path for path, _ in both)}"
            )
    else:
        whole = _read_whole(root, lists, training=True)
        train, val = split_set(whole, config or SplitConfig(), source=str(root))
    present = {train.classes[sample.label] for sample in train.samples}
    if len(present) < 2:
        raise DataError(f"{root} holds one class ({present.pop()}): at least two are needed to learn to tell apart")
    return train, val


def matched(part: LabelledSet, train: LabelledSet, *, root: Path, name: str) -> LabelledSet:
    """The part called `name`, with labels counted in the classes of the training set.

    Raises:
        DataError: a class is unknown to the training set, or one counts by names and the other by numbers.
    """
    by_name = part.named and set(part.classes) <= set(train.classes)  # folders `0`, `1`, ... beside a list of numbers
    if part.named != train.named and not train.named_by_file and not by_name:
        named, numbered, names = ("train", name, train.classes) if train.named else (name, "train", part.classes)
        raise DataError(
            f"{root}: the labels of {named} are names ({shortened(names)}), but those of {numbered} are numbers; write "
            "both alike, or give the names in the order of the numbers as --lists.labels FILE"
        )
    return part.relabelled(train.classes, source=f"{root}/train")


def _identities(part: LabelledSet) -> set[tuple[str, int | None]]:
    """What tells each video from all others, whatever links lead to it: its real path, and which part of a folder."""
    real_folders: dict[str, str] = {}
    found = set()
    for sample in part.samples:
        folder, name = os.path.split(sample.path)
        if folder not in real_folders:
            real_folders[folder] = os.path.realpath(folder)
        path = os.path.join(real_folders[folder], name)
        path = os.path.realpath(path) if os.path.islink(path) else path
        found.add((path, sample.path.first if isinstance(sample.path, FrameFolder) else None))
    return found


def read_set(root: str | Path, *, split: str | None = None, lists: ListConfig | None = None) -> LabelledSet:
    """One set: a list, a shard, or a folder of class folders or shards; or the named split of `root`.

    With `split=None`, a folder is taken as it is; use `evaluation_split` to find the part to evaluate on.

    Raises:
        DataError: nothing usable is found.
    """
    root, lists = _existing(root), lists or ListConfig()
    if split is None:
        return _read_whole(root, lists)
    listed = _find_list(root, split, lists)
    if listed:
        return read_list(listed, lists=lists, root=root, training=split == "train")
    shards = find_shards(root, split)
    if shards:
        return _read_shards(shards, root, lists, origin=root / split, training=split == "train")
    return _read_whole(_existing(root / split), lists)


def _read_whole(root: Path, lists: ListConfig, *, training: bool = False) -> LabelledSet:
    """All that a list, a shard or a folder holds."""
    if root.is_file() and root.suffix.lower() != ".tar":
        return read_list(root, lists=lists, root=root.parent, training=training)
    shards = [root] if root.is_file() else find_shards(root)
    if shards:
        return _read_shards(shards, root.parent if root.is_file() else root, lists, origin=root, training=training)
    found = read_class_folders(root, frame_folders=lists.frame_folders)
    names = find_class_names(lists.labels, [])
    if names is None:
        return found
    return replace(found.relabelled(names.names, source=names.source, advice=names.advice), named_by_file=True)


def _read_shards(shards: list[Path], root: Path, lists: ListConfig, *, origin: Path, training: bool) -> LabelledSet:
    names = find_class_names(lists.labels, [origin, root] if origin.is_dir() else [root])
    return read_shards(shards, origin=origin, names=names, first_label=lists.first_label, training=training)


def evaluation_split(root: str | Path, lists: ListConfig | None = None) -> str | None:
    """The split of `root` to evaluate on: "test" or "val" where there is one, else None (the whole folder).

    A list that is given as `lists.val` comes before a "test" that happens to be there.
    """
    lists = lists or ListConfig()
    if lists.val is not None:
        return "val"
    return next((name for name in ("test", "val") if _has_split(Path(root), name, lists)), None)


def _has_split(root: Path, name: str, lists: ListConfig) -> bool:
    """A list, shards, or a folder with folders in it: a class may be called `train` and then holds videos."""
    if _find_list(root, name, lists) or find_shards(root, name):
        return True
    return (root / name).is_dir() and any(entry.is_dir() for entry in (root / name).iterdir())


def _find_list(root: Path, split: str, lists: ListConfig) -> Path | None:
    """The list of a split: the one that the configuration names, or the one in the data folder."""
    given = {"train": lists.train, "val": lists.val}.get(split)
    if given is not None:
        if not os.path.isfile(given):
            state = "is a folder, not a list" if os.path.isdir(given) else f"there is no file {os.path.abspath(given)}"
            raise DataError(f"lists.{split} {given!r}: {state}")
        return Path(given)
    found = [path for suffix in LIST_SUFFIXES if (path := root / f"{split}{suffix}").is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DataError(f"{root} holds {names}: which list is meant? Remove the other, or give --lists.{split}")
    return found[0] if found else None


def _existing(root: str | Path) -> Path:
    root = Path(root)
    if not root.exists():
        raise DataError(f"{root}: no such file or folder")
    return root
