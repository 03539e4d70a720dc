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
from morphmlp.data.labelled import LabelledSet, Sample, find_class_names, only_kind
from morphmlp.data.lists import read_list
from morphmlp.data.shards import find_shards, read_shards
from morphmlp.data.sources import SUFFIXES, FrameFolder, MediaKind, media_kind
from morphmlp.data.splits import split_set
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
                f"{root}: {len(both)} {train.unit} stand in both train and val, such as {min(path for path, _ in both)}"
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


def read_class_folders(root: Path, *, frame_folders: bool = False) -> LabelledSet:
    """Videos, or images, in `root/<class>/`, at any depth; classes in alphabetical order.

    Args:
        frame_folders: a folder of images below a class folder is one video.

    Raises:
        DataError: no class folder, one with nothing in it, or both videos and images.
    """
    try:
        folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{root} cannot be listed: {error.strerror}") from None
    if not folders:
        raise DataError(
            f"{root} holds no class folders; expected {root}/<class>/ with videos or images in it, or a csv list"
        )
    for folder in folders:
        if folder.is_symlink() and root.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{folder} is a link to {folder.resolve()}, which it lies in; remove it")
    files = {folder.name: find_videos(folder) if frame_folders else find_media(folder) for folder in folders}
    kind = "video" if frame_folders else only_kind((path for paths in files.values() for path in paths), source=root)
    empty = [name for name, paths in files.items() if not paths]
    if empty:
        raise _nothing_in(root, empty, kind, frame_folders=frame_folders)
    samples = [Sample(path, label) for label, paths in enumerate(files.values()) for path in paths]
    return LabelledSet(samples, list(files), kind=kind or "video")


def _nothing_in(root: Path, empty: list[str], kind: MediaKind | None, *, frame_folders: bool) -> DataError:
    if frame_folders:
        return DataError(f"{root}: no videos in {shortened(empty)}; expected folders of images, or video files")
    known = " ".join(sorted(SUFFIXES[kind] if kind else SUFFIXES["video"] | SUFFIXES["image"]))
    wanted = f"{kind}s" if kind else "videos or images"
    return DataError(f"{root}: no {wanted} in {shortened(empty)}; files are taken by their ending: {known}")


def find_media(folder: Path, kind: MediaKind | None = None) -> list[Path]:
    """Videos and images below `folder`, or those of one kind, in alphabetical order.

    They are told by their endings; hidden files and folders are left out, and so are links to folders.

    Raises:
        DataError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be listed: {error.strerror}")

    wanted = {kind} if kind else set(SUFFIXES)
    paths = []
    for directory, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found = [name for name in names if not name.startswith(".") and media_kind(name) in wanted]
        paths.extend(Path(directory, name) for name in found)
    return sorted(paths)


def find_videos(folder: Path) -> list[Path]:
    """Video files and folders of frames below `folder`, in alphabetical order.

    A folder is one of frames if an image lies in it; what else it holds is not looked at.

    Raises:
        DataError: a folder cannot be listed, or images lie in `folder` itself.
    """
    found: list[Path] = []
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        folders, videos = _folders_and_videos(current)
        if folders is None and current == folder:
            raise DataError(f"{folder} holds images itself; with frame_folders, each video needs a folder of its own")
        found.extend([current] if folders is None else videos)
        waiting.extend(folders or [])
    return sorted(found)


def _folders_and_videos(folder: Path) -> tuple[list[Path] | None, list[Path]]:
    """What lies in a folder; None for its folders once an image is found, which ends the search."""
    folders, videos = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(folder / entry.name)
                elif media_kind(entry.name) == "image":
                    return None, []
                elif media_kind(entry.name) == "video":
                    videos.append(folder / entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}") from None
    return folders, videos


def _existing(root: str | Path) -> Path:
    root = Path(root)
    if not root.exists():
        raise DataError(f"{root}: no such file or folder")
    return root
