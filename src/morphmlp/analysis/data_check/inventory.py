"""Which files make up a data set that is to be checked, also where a training would refuse the set."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from morphmlp.analysis.data_check.examine import Job
from morphmlp.config import ListConfig, MaskConfig, SplitConfig
from morphmlp.data.media.sources import Source, TarMember, media_kind
from morphmlp.data.sets.find import find_media
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.read import evaluation_split, matched, read_set, read_training_sets
from morphmlp.errors import DataError
from morphmlp.tasks.segmentation.annotations import (
    MaskSet,
    evaluation_mask_split,
    is_mask_data,
    read_mask_set,
    read_mask_sets,
)

SPLITS = ("train", "val", "test")
WHOLE = "all"  # the split of files that are in none

_LIST_SUFFIXES = (".csv", ".txt", ".json")


@dataclass(frozen=True)
class Entry:
    """A file of the set: `label` counts in the inventory's classes, None where there are no labels."""

    job: Job
    split: str
    label: int | None


@dataclass(frozen=True)
class Inventory:
    """The files that a training would take, and what can be said without opening them.

    Attributes:
        named: False where the classes are only known by number.
        refusal: why `train` does not take the set, in its own words; None where it does.
        left_out: number of files below the folder that are not taken, by the ending of their names.
        masks: how annotations are read; None for labelled files.
        split: how the set is split where it is not split by its folders or lists.
    """

    root: Path
    entries: list[Entry]
    classes: list[str] = field(default_factory=list)
    named: bool = True
    refusal: str | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    masks: MaskConfig | None = None
    split: SplitConfig = field(default_factory=SplitConfig)


def take_inventory(
    root: str | Path,
    *,
    lists: ListConfig | None = None,
    split: SplitConfig | None = None,
    masks: MaskConfig | None = None,
) -> Inventory:
    """Finds the files as training does; where training refuses the set, those that it would have to do with.

    Raises:
        DataError: there are none, or a list cannot be read.
    """
    root, lists, split = Path(root), lists or ListConfig(), split or SplitConfig()
    if is_mask_data(root):
        return _mask_inventory(root, masks or MaskConfig(), split)
    refusal = None
    try:
        parts = dict(zip(SPLITS, read_training_sets(root, split, lists=lists), strict=False))
        if evaluation_split(root, lists) == "test":
            test = read_set(root, split="test", lists=lists)
            parts["test"] = matched(test, parts["train"], root=root, name="test")
    except DataError as error:
        refusal = str(error)
        parts = _refused_parts(root, lists, error)
    if not parts:
        entries = [Entry(_job(path), WHOLE, None) for path in find_media(root)]
        return Inventory(root, entries, refusal=refusal, left_out=_left_out(root, entries, lists), split=split)
    classes = next(iter(parts.values())).classes
    named = next(iter(parts.values())).named
    entries = [Entry(_job(s.path), name, s.label) for name, part in parts.items() for s in part.samples]
    return Inventory(root, entries, classes, named, refusal, _left_out(root, entries, lists), split=split)


def _job(path: Source) -> Job:
    """An unknown ending counts as a video's, as in training; so does a folder of frames."""
    return Job(path, media_kind(path) or "video")


def _mask_inventory(root: Path, masks: MaskConfig, split: SplitConfig) -> Inventory:
    refusal = None
    try:
        parts: dict[str, MaskSet] = dict(zip(SPLITS, read_mask_sets(root, masks, split), strict=False))
        if evaluation_mask_split(root) == "test":
            parts["test"] = read_mask_set(root, masks, split="test")
    except DataError as error:
        refusal = str(error)
        parts = {WHOLE: read_mask_set(root, masks, split=WHOLE)}
    entries = [
        Entry(Job(sample.path, "image", sample.mask), name, None)
        for name, part in parts.items()
        for sample in part.samples
    ]
    classes = next(iter(parts.values())).classes
    return Inventory(root, entries, classes, refusal=refusal, masks=masks, split=split)


def _refused_parts(root: Path, lists: ListConfig, error: DataError) -> dict[str, LabelledSet]:
    """Each split by itself, or the whole, with the classes of all of them; nothing where there are no classes.

    Raises:
        DataError: a list cannot be read, or there is neither a video nor an image.
    """
    if not root.exists():
        raise error
    if root.is_file():
        return {WHOLE: read_set(root, lists=lists)}
    parts: dict[str, LabelledSet] = {}
    for name in SPLITS:
        if _has_list(root, lists, name):
            parts[name] = read_set(root, split=name, lists=lists)
        elif (root / name).is_dir():
            parts[name] = _class_folders(root / name, lists)
    parts = {name: part for name, part in parts.items() if part.samples}
    if not parts:
        whole = _class_folders(root, lists)
        parts = {WHOLE: whole} if whole.samples else {}
    if not parts and not find_media(root):
        raise error
    return _with_joint_classes(parts)


def _has_list(root: Path, lists: ListConfig, name: str) -> bool:
    given = {"train": lists.train, "val": lists.val}.get(name)
    return given is not None or any((root / f"{name}{suffix}").is_file() for suffix in _LIST_SUFFIXES)


def _class_folders(root: Path, lists: ListConfig) -> LabelledSet:
    """The media in class folders, empty ones too, and videos beside images."""
    try:
        return read_set(root, lists=lists)
    except DataError:
        folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        samples = [Sample(path, label) for label, folder in enumerate(folders) for path in find_media(folder)]
        return LabelledSet(samples, [folder.name for folder in folders])


def _with_joint_classes(parts: dict[str, LabelledSet]) -> dict[str, LabelledSet]:
    """The parts with labels that count in one list of classes: those of the first, and what others have beside them."""
    names = list(dict.fromkeys(name for part in parts.values() for name in part.classes))
    position = {name: i for i, name in enumerate(names)}
    joint = {}
    for split, part in parts.items():
        samples = [replace(sample, label=position[part.classes[sample.label]]) for sample in part.samples]
        joint[split] = replace(part, samples=samples, classes=names)
    return joint


def _left_out(root: Path, entries: Iterable[Entry], lists: ListConfig) -> dict[str, int]:
    """Files below a folder that no sample is, by their endings; a list is free to leave out what it likes."""
    paths = {os.fspath(entry.job.path) for entry in entries}
    sources = [entry.job.path for entry in entries]
    of_folders = any(isinstance(s, TarMember) or (media_kind(s) is None and os.path.isdir(s)) for s in sources)
    if root.is_file() or of_folders or any(_has_list(root, lists, name) for name in SPLITS):
        return {}
    others = Counter()
    for directory, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = (name for name in names if not name.startswith("."))
        others.update(os.path.splitext(n)[1].lower() for n in visible if os.path.join(directory, n) not in paths)
    return dict(others.most_common())
