"""Labelled videos or images on disk: a folder of class folders, or a list; and the split into training and validation.

Three layouts are told apart by what the folder holds, as are videos (shown here) and images:

    DIR/train/<class>/*.mp4, DIR/val/<class>/*.mp4      split by the user
    DIR/train.csv, DIR/val.csv                           lists: one `path,label` a line
    DIR/<class>/*.mp4                                    split here, by a seeded fraction
"""

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from morphmlp.config import SplitConfig
from morphmlp.data.images import IMAGE_SUFFIXES
from morphmlp.errors import DataError
from morphmlp.files import read_class_names
from morphmlp.formatting import shortened

VIDEO_SUFFIXES = frozenset(
    [".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".3gp", ".ogv"]
)
SUFFIXES = {"video": VIDEO_SUFFIXES, "image": IMAGE_SUFFIXES}

MOST_DIGITS = 5  # of a label that is a number

Key = TypeVar("Key", bound=Hashable)
MediaKind = Literal["video", "image"]


@dataclass(frozen=True)
class Sample:
    """One labelled video or image: `label` counts from 0 in the order of the set's classes."""

    path: Path
    label: int


@dataclass(frozen=True)
class LabelledSet:
    """Labelled files of one kind and their classes; `named` is False where the classes are only known by number."""

    samples: list[Sample]
    classes: list[str]
    named: bool = True
    kind: MediaKind = "video"

    @property
    def unit(self) -> str:
        """What the samples are called in messages: "videos" or "images"."""
        return f"{self.kind}s"

    def relabelled(self, classes: list[str], *, source: str) -> "LabelledSet":
        """The same samples with labels counted in another list of classes, matched by name, or by number if unnamed.

        Raises:
            DataError: a class of this set is not in the list; both sides are named.
        """
        if not self.named:
            if len(self.classes) > len(classes):
                raise DataError(f"label {len(self.classes) - 1} is past the {len(classes)} classes of {source}")
            return replace(self, classes=list(classes), named=True)
        unknown = [name for name in self.classes if name not in classes]
        if unknown:
            raise DataError(
                f"{len(unknown)} of {len(self.classes)} classes of the data are not among the {len(classes)} of "
                f"{source}: {shortened(unknown)}; {source} has: {shortened(classes)}"
            )
        position = {name: classes.index(name) for name in self.classes}
        samples = [replace(sample, label=position[self.classes[sample.label]]) for sample in self.samples]
        return replace(self, samples=samples, classes=list(classes))


def media_kind(path: str | Path) -> MediaKind | None:
    """What the ending of a file's name says that it is: "video", "image", or None where it says nothing."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "video" if suffix in VIDEO_SUFFIXES else None


def read_training_sets(root: str | Path, config: SplitConfig | None = None) -> tuple[LabelledSet, LabelledSet]:
    """The training and validation sets below `root`, in any of the three layouts.

    Raises:
        DataError: nothing usable is found, there are fewer than two classes, a class lacks files, or there are both
            videos and images.
    """
    root = _existing(root)
    if _has_split(root, "train"):
        train = read_set(root, split="train")
        if not _has_split(root, "val"):
            raise DataError(f"{root} has train but no val; add {root / 'val'}, or give one folder of class folders")
        val = read_set(root, split="val")
        if train.kind != val.kind:
            raise DataError(f"{root}: train holds {train.unit}, but val {val.unit}; both need one kind")
        val = val.relabelled(train.classes, source=f"{root}/train")
        in_train, in_val = ({os.path.realpath(sample.path) for sample in part.samples} for part in (train, val))
        both = in_train & in_val
        if both:
            raise DataError(f"{root}: {len(both)} {train.unit} stand in both train and val, such as {min(both)}")
    else:
        train, val = split_set(read_set(root), config or SplitConfig(), source=str(root))
    present = {train.classes[sample.label] for sample in train.samples}
    if len(present) < 2:
        raise DataError(f"{root} holds one class ({present.pop()}): at least two are needed to learn to tell apart")
    return train, val


def read_set(root: str | Path, *, split: str | None = None) -> LabelledSet:
    """One set: a csv file, or a folder of class folders, or the named split of `root`.

    With `split=None`, a folder is taken as it is; use `evaluation_split` to find the part to evaluate on.
    """
    root = _existing(root)
    if split is not None:
        return read_list(root / f"{split}.csv") if (root / f"{split}.csv").is_file() else read_set(root / split)
    return read_list(root) if root.is_file() else read_class_folders(root)


def evaluation_split(root: str | Path) -> str | None:
    """The split of `root` to evaluate on: "test" or "val" where there is one, else None (the whole folder)."""
    return next((name for name in ("test", "val") if _has_split(Path(root), name)), None)


def read_class_folders(root: Path) -> LabelledSet:
    """Videos, or images, in `root/<class>/`, at any depth; classes in alphabetical order.

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
    files = {folder.name: find_media(folder) for folder in folders}
    kind = _only_kind((path for paths in files.values() for path in paths), source=root)
    empty = [name for name, paths in files.items() if not paths]
    if empty:
        known = " ".join(sorted(SUFFIXES[kind] if kind else VIDEO_SUFFIXES | IMAGE_SUFFIXES))
        wanted = f"{kind}s" if kind else "videos or images"
        raise DataError(f"{root}: no {wanted} in {shortened(empty)}; files are taken by their ending: {known}")
    samples = [Sample(path, label) for label, paths in enumerate(files.values()) for path in paths]
    return LabelledSet(samples, list(files), kind=kind or "video")


def find_media(folder: Path, kind: MediaKind | None = None) -> list[Path]:
    """Videos and images below `folder`, or those of one kind, in alphabetical order.

    They are told by their endings; hidden files and folders are left out.

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


def _only_kind(paths: Iterable[Path], *, source: Path) -> MediaKind | None:
    """The one kind that the files are of, None without files; an unknown ending counts as a video's."""
    examples: dict[MediaKind, Path] = {}
    for path in paths:
        examples.setdefault(media_kind(path) or "video", path)
    if len(examples) == 2:
        raise DataError(
            f"{source} holds both videos and images, such as {examples['video']} and {examples['image']}; "
            "move one kind elsewhere"
        )
    return next(iter(examples), None)


def read_list(path: str | Path) -> LabelledSet:
    """A csv file of `path,label` rows; paths are relative to the file, labels are names or integers from 0.

    A header row `path,label` may stand first. Names are sorted; integers take theirs from `classes.txt` beside
    the file (one name a line), or stand for themselves.

    Raises:
        DataError: naming the row that cannot be used, or a video and an image of the same list.
    """
    path = Path(path)
    rows = _read_rows(path)
    labels = [label for _, _, label in rows]
    if all(re.fullmatch(r"\d+", label) for label in labels):
        names_file = path.with_name("classes.txt")
        named = names_file.is_file()
        highest = max(labels, key=lambda label: (len(label), label))
        if not named and len(highest.lstrip("0")) > MOST_DIGITS:
            raise DataError(f"{path}: label {highest[:20]} is no class number; name the classes in {names_file}")
        classes = read_class_names(names_file) if named else [str(i) for i in range(max(map(int, labels)) + 1)]
        for number, _, label in rows:
            if int(label) >= len(classes):
                raise DataError(f"{path}, row {number}: label {label}, but {names_file} names {len(classes)} classes")
        position = {label: int(label) for label in labels}
    else:
        named = True
        classes = sorted(set(labels))
        position = {name: i for i, name in enumerate(classes)}
    samples = [Sample(path.parent / name, position[label]) for _, name, label in rows]
    kind = _only_kind((sample.path for sample in samples), source=path)
    return LabelledSet(samples, classes, named, kind or "video")


def _read_rows(path: Path) -> list[tuple[int, str, str]]:
    """Row number, file name and label of every row but a header."""
    rows = []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file, skipinitialspace=True), start=1):
                cells = [cell.strip() for cell in row]
                if not any(cells) or (number == 1 and [cell.lower() for cell in cells] == ["path", "label"]):
                    continue
                if len(cells) != 2 or not all(cells) or "\0" in "".join(cells):
                    raise DataError(f"{path}, row {number}: {row!r} is not path,label: two values, both filled")
                rows.append((number, *cells))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a csv list: {error}") from None
    if not rows:
        raise DataError(f"{path} holds no rows; expected one path,label a line")
    return rows


def split_set(whole: LabelledSet, config: SplitConfig, *, source: str) -> tuple[LabelledSet, LabelledSet]:
    """Splits by class, or by group where the configuration names a pattern; both parts hold every class.

    Raises:
        DataError: a class has one file only, a name does not fit the pattern, or a class is missing on one side.
    """
    counts = Counter(sample.label for sample in whole.samples)
    single = [whole.classes[label] for label, count in sorted(counts.items()) if count == 1]
    if single:
        raise DataError(
            f"{source}: one {whole.kind} only in {shortened(single)}: it cannot stand in both the training and the "
            f"validation part; add {whole.unit}, remove the class, or give train and val folders"
        )
    if config.group_pattern is None:
        held_out = _draw_by_class(whole.samples, config)
    else:
        held_out = _draw_groups(whole.samples, config)
    train = replace(whole, samples=[sample for sample in whole.samples if sample.path not in held_out])
    val = replace(whole, samples=[sample for sample in whole.samples if sample.path in held_out])
    for part, name in ((train, "training"), (val, "validation")):
        present = {sample.label for sample in part.samples}
        missing = [whole.classes[label] for label in counts if label not in present]
        if missing:
            raise DataError(
                f"{source}: the {name} part has no {whole.kind} of {shortened(missing)}; "
                "change val_fraction, seed or group_pattern, or give train and val folders"
            )
    return train, val


def _draw_by_class(samples: list[Sample], config: SplitConfig) -> set[Path]:
    """Held-out paths: the fraction of each class, at least one and never all; the order of the list does not matter."""
    held_out: set[Path] = set()
    by_class = _grouped(samples, lambda sample: sample.label)
    for label in sorted(by_class):
        paths = sorted({sample.path for sample in by_class[label]})
        generator = np.random.default_rng([config.seed, label])
        count = min(max(round(config.val_fraction * len(paths)), 1), len(paths) - 1)
        held_out.update(paths[i] for i in generator.permutation(len(paths))[:count])
    return held_out


def _draw_groups(samples: list[Sample], config: SplitConfig) -> set[Path]:
    """Held-out paths: all files of a fraction of the groups, at least one group and never all."""
    groups = _grouped(samples, lambda sample: _group_of(sample.path, config.group_pattern or ""))
    if len(groups) < 2:
        raise DataError(
            f"group_pattern {config.group_pattern!r} finds {len(groups)} group in the file names; two needed"
        )
    names = sorted(groups)
    count = min(max(round(config.val_fraction * len(names)), 1), len(names) - 1)
    drawn = np.random.default_rng(config.seed).permutation(len(names))[:count]
    return {sample.path for i in drawn for sample in groups[names[i]]}


def _group_of(path: Path, pattern: str) -> str:
    try:
        match = re.search(pattern, path.name)
    except re.error as error:
        raise DataError(f"group_pattern {pattern!r} is no regular expression: {error}") from None
    group = match and (match[1] if match.groups() else match[0])
    if group is None:
        raise DataError(f"{path}: the name does not fit group_pattern {pattern!r}")
    return group


def _grouped(samples: Iterable[Sample], key: Callable[[Sample], Key]) -> dict[Key, list[Sample]]:
    groups: dict[Key, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[key(sample)].append(sample)
    return groups


def _has_split(root: Path, name: str) -> bool:
    """A list, or a folder with folders in it: a class may be called `train` and then holds videos."""
    if (root / f"{name}.csv").is_file():
        return True
    return (root / name).is_dir() and any(entry.is_dir() for entry in (root / name).iterdir())


def _existing(root: str | Path) -> Path:
    root = Path(root)
    if not root.exists():
        raise DataError(f"{root}: no such file or folder")
    return root
