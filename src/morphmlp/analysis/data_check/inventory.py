"""Which files make up a data set that is to be checked, also where a training would refuse the set."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from morphmlp.analysis.data_check.examine import Job
from morphmlp.config import ListConfig, SplitConfig
from morphmlp.config.base import Config
from morphmlp.data.media.animations import is_animation
from morphmlp.data.media.sources import MediaKind, Source, is_file, media_kind
from morphmlp.data.sets.find import find_media
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.layout import Place
from morphmlp.data.sets.read import LAYOUTS, evaluation_split, find_set, matched, read_set, read_training_sets
from morphmlp.data.sets.split_names import split_folder
from morphmlp.data.sets.splits import SPLITS
from morphmlp.errors import DataError
from morphmlp.tasks.registry import task_of_data
from morphmlp.tasks.task import AnnotatedSet, CountAnnotation

WHOLE = "all"  # the split of files that are in none


@dataclass(frozen=True)
class SetFile:
    """A file of the set: `label` counts in the inventory's classes, as do the `labels` of a multi-label set.

    Both are None where there are no labels.
    """

    job: Job
    split: str
    label: int | None
    labels: tuple[int, ...] | None = None

    @property
    def classes(self) -> tuple[int, ...] | None:
        """Its classes; None where there are no labels."""
        if self.labels is not None or self.label is None:
            return self.labels
        return (self.label,)


@dataclass(frozen=True)
class Inventory:
    """The files that a training would take, and what can be said without opening them.

    Attributes:
        named: False where the classes are only known by number.
        multi_label: files may have several classes, or none.
        refusal: the words in which `train` refuses the set; None where it takes it.
        left_out: number of files below the folder that are not taken, by the ending of their names.
        count_annotation: reads the annotations of the files; None where there are none.
        split: how the set is split where it is not split by its folders or lists.
        notes: what reading assumed about labels and stretches.
    """

    root: Path
    files: list[SetFile]
    classes: list[str] = field(default_factory=list)
    named: bool = True
    refusal: str | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    count_annotation: CountAnnotation | None = None
    split: SplitConfig = field(default_factory=SplitConfig)
    notes: tuple[str, ...] = ()
    multi_label: bool = False


def take_inventory(
    root: str | Path, *, split: SplitConfig | None = None, readings: Mapping[str, Config] | None = None
) -> Inventory:
    """Finds the files as training does; where training refuses the set, all that could belong to it.

    Args:
        readings: how the set is read, by the names of fields of `RunConfig`; what is left out has its defaults.

    Raises:
        DataError: there are none, or a list cannot be read.
    """
    root, split, task = Path(root), split or SplitConfig(), task_of_data(root)
    reading: Any = (readings or {}).get(task.reading_part) or task.reading()
    if found := task.pairs_to_check(root, split, reading):
        return _annotated_inventory(root, found, split)
    return _labelled_inventory(root, split, reading)


def _labelled_inventory(root: Path, split: SplitConfig, lists: ListConfig) -> Inventory:
    refusal = None
    try:
        parts = dict(zip(SPLITS, read_training_sets(root, split, lists=lists), strict=False))
        if parts["train"].multi_label:
            lists = replace(lists, multi_label=True)
        if evaluation_split(root, lists) == "test":
            test = read_set(root, split="test", lists=lists)
            parts["test"] = matched(test, parts["train"], root=root, name="test")
    except DataError as error:
        refusal = str(error)
        parts = _refused_parts(root, lists, error)
    if not parts:
        files = [SetFile(_job(path), WHOLE, None) for path in find_media(root)]
        return Inventory(root, files, refusal=refusal, left_out=_left_out(root, files, lists), split=split)
    classes = next(iter(parts.values())).classes
    named = next(iter(parts.values())).named
    files = [
        SetFile(_job(s.path, part.kind), name, s.label, s.labels) for name, part in parts.items() for s in part.samples
    ]
    notes = tuple(dict.fromkeys(part.note for part in parts.values() if part.note))
    multi_label = any(part.multi_label for part in parts.values())
    left_out = _left_out(root, files, lists)
    return Inventory(root, files, classes, named, refusal, left_out, split=split, notes=notes, multi_label=multi_label)


def _job(path: Source, kind: MediaKind = "image") -> Job:
    """An unknown ending counts as a video's, as in training; so do a folder of frames and, in videos, an animation."""
    named = media_kind(path) or "video"
    return Job(path, "video" if named == "image" and kind == "video" and is_animation(path) else named)


def _annotated_inventory(root: Path, found: AnnotatedSet, split: SplitConfig) -> Inventory:
    files = [
        SetFile(Job(path, "image", annotation), name, None)
        for name, pairs in found.parts.items()
        for path, annotation in pairs
    ]
    return Inventory(root, files, found.classes, refusal=found.refusal, count_annotation=found.count, split=split)


def _refused_parts(root: Path, lists: ListConfig, error: DataError) -> dict[str, LabelledSet]:
    """Each split by itself, or the whole, with the classes of all of them; nothing where there are no classes.

    Raises:
        DataError: a list cannot be read, or there is neither a video nor an image.
    """
    if not root.exists():
        raise error
    if root.is_file():
        return {WHOLE: read_set(root, lists=lists)}
    parts = {split: _refused_part(root, split, lists) for split in SPLITS}
    parts = {split: part for split, part in parts.items() if part.samples}
    if not parts:
        whole = _refused_part(root, None, lists)
        parts = {WHOLE: whole} if whole.samples else {}
    if not parts and not find_media(root):
        raise error
    return _with_joint_classes(parts)


def _refused_part(root: Path, split: str | None, lists: ListConfig) -> LabelledSet:
    """A split, or all: where it cannot be read as a set, the media in class folders, empty ones too.

    Raises:
        DataError: there is a list, but it cannot be read.
    """
    place = Place(root, split, lists)
    try:
        if read := find_set(place):
            return read()
    except DataError:
        if _may_leave_out(place):
            raise
    part = root if split is None else split_folder(root, split) or root / split
    folders = part.glob("*")
    folders = sorted(folder for folder in folders if folder.is_dir() and not folder.name.startswith("."))
    samples = [Sample(path, label) for label, folder in enumerate(folders) for path in find_media(folder)]
    return LabelledSet(samples, [folder.name for folder in folders])


def _may_leave_out(place: Place) -> bool:
    """Whether a set is there that is a choice among the files beside it, as a list is."""
    return any(layout.may_leave_out and layout.find(place) is not None for layout in LAYOUTS)


def _with_joint_classes(parts: dict[str, LabelledSet]) -> dict[str, LabelledSet]:
    """The parts with labels that count in one list of classes: those of the first, then what the others add."""
    names = list(dict.fromkeys(name for part in parts.values() for name in part.classes))
    position = {name: i for i, name in enumerate(names)}
    joint = {}
    for split, part in parts.items():
        samples = [
            sample.with_classes([position[part.classes[label]] for label in sample.classes]) for sample in part.samples
        ]
        joint[split] = replace(part, samples=samples, classes=names)
    return joint


def _left_out(root: Path, files: Sequence[SetFile], lists: ListConfig) -> dict[str, int]:
    """The files in a folder that are not in the set, by their endings; where the set may leave some out, nothing."""
    sources = [file.job.path for file in files]
    splits = {file.split for file in files} - {WHOLE}
    chosen = any(_may_leave_out(Place(root, split, lists)) for split in splits)
    if root.is_file() or chosen or not all(is_file(source) for source in sources):
        return {}
    paths = {os.fspath(source) for source in sources}
    others: Counter[str] = Counter()
    try:
        media = find_media(root, left_out=others)
    except DataError:  # a folder beside those of the set cannot be listed
        return {}
    others.update(path.suffix.lower() for path in media if os.fspath(path) not in paths)
    return dict(others.most_common())
