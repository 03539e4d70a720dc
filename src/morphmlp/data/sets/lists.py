"""Lists: which of them a folder holds, which rows are of a part, and which of the classes they belong to."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from morphmlp.config import ListConfig
from morphmlp.data.media.remote import remote_file
from morphmlp.data.sets.class_lists import class_lists, read_class_lists
from morphmlp.data.sets.class_names import find_class_names
from morphmlp.data.sets.formats.rows import ListRow
from morphmlp.data.sets.labelled import LabelledSet, joined_notes
from morphmlp.data.sets.layout import Layout, Place
from morphmlp.data.sets.list_rows import LIST_SUFFIXES, read_rows
from morphmlp.data.sets.locate import locate
from morphmlp.data.sets.recordings import note_on_overlaps
from morphmlp.data.sets.shards import SHARD_SUFFIX
from morphmlp.data.sets.split_names import split_called, visible
from morphmlp.data.sets.written import WrittenSample, labelled_set
from morphmlp.errors import DataError


@dataclass(frozen=True)
class FoundList:
    """A list: a file, or a folder of files that are a class each.

    Attributes:
        split: of the rows that are taken; None takes all.
        folder: that its names are relative to, of a copy of a list at an address.
    """

    path: Path
    split: str | None = None
    class_files: tuple[Path, ...] = ()
    folder: Path | None = None


class Lists(Layout[FoundList]):
    may_leave_out: ClassVar[bool] = True

    def find(self, place: Place) -> FoundList | None:
        """A file that is no shard; of a split, the list that the configuration names, or the one in the folder.

        A file with rows of several parts is the list of each of them.
        """
        root, split = place.root, place.split
        if root.is_file():
            return found_list(root, place) if root.suffix.lower() != SHARD_SUFFIX else None
        if split is None:
            files = class_lists(root)
            return FoundList(root, None, tuple(p for paths in files.values() for p in paths)) if files else None
        given = {"train": place.lists.train, "val": place.lists.val}.get(split)
        if given is not None:
            return _given_list(given, place)
        found = [path for suffix in LIST_SUFFIXES if (path := root / f"{split}{suffix}").is_file()]
        found = found or _lists_of_other_spelling(root, split)
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise DataError(f"{root} holds {names}: which list is meant? Remove the other, or give --lists.{split}")
        return FoundList(found[0], split) if found else _of_classes(root, split)

    def read(self, found: FoundList, place: Place) -> LabelledSet:
        """A list in any of the formats of `list_rows`; the files are looked for, but none is decoded.

        Names are relative to `lists.prefix`, or else to the data folder or the list's own, whichever holds the first
        file that exists. Where names have no ending that is known, that file also tells whether they are folders of
        frames or which ending videos have. A listed file that does not exist stays in the set, and counts as broken
        when it is read. Labels are read as `labelled_set` says; a label file is looked for beside the list, then in the
        data folder.

        Raises:
            DataError: naming the row that cannot be used, or saying that no file exists.
        """
        root = place.root.parent if place.root.is_file() else place.root
        return _read(found, lists=place.lists, root=root, training=place.training)


def found_list(path: Path, place: Place, *, folder: Path | None = None) -> FoundList | None:
    """All of a file, or one of several parts that it holds."""
    if place.split is None:
        return FoundList(path, folder=folder)
    splits = _splits(read_rows(path, fps=place.lists.fps, multi_label=bool(place.lists.multi_label)))
    return FoundList(path, place.split, folder=folder) if len(splits) > 1 and place.split in splits else None


def _splits(rows: Sequence[ListRow]) -> set[str]:
    return {split for name in {row.split for row in rows} if (split := split_called(name))}


def _of_classes(root: Path, split: str) -> FoundList | None:
    """The files of a part, a class each, where a folder holds those of several parts."""
    files = class_lists(root)
    return FoundList(root, split, tuple(files[split])) if len(files) > 1 and split in files else None


def _lists_of_other_spelling(root: Path, split: str) -> list[Path]:
    """`Train.csv` or `training.txt`, where a list of another part lies beside it."""
    names = visible(root, lambda entry: os.path.splitext(entry.name)[1].lower() in LIST_SUFFIXES and entry.is_file())
    splits = {name: split_called(os.path.splitext(name)[0]) for name in names}
    if len(set(splits.values()) - {None}) < 2:
        return []
    return [root / name for name, found in splits.items() if found == split]


def _given_list(path: str, place: Place) -> FoundList:
    split = place.split or ""
    if remote := remote_file(path):
        return FoundList(remote.location, split, folder=Path(os.path.dirname(remote)))
    if os.path.isdir(path) and (files := class_lists(Path(path))):
        return FoundList(Path(path), split, tuple(files.get(split) or [p for paths in files.values() for p in paths]))
    if not os.path.isfile(path):
        state = "is a folder, not a list" if os.path.isdir(path) else f"there is no file {os.path.abspath(path)}"
        raise DataError(f"lists.{split} {path!r}: {state}")
    return FoundList(Path(path), split)


def _read(found: FoundList, *, lists: ListConfig, root: Path | None, training: bool) -> LabelledSet:
    path = found.path
    rows = _rows(found, lists)
    list_folder = found.folder or (path if found.class_files else path.parent)
    own_folders = list(dict.fromkeys(folder for folder in (list_folder, root) if folder is not None))
    folders = own_folders[::-1] if lists.prefix is None else [_prefix(lists.prefix)]
    names = find_class_names(lists.labels, own_folders)
    sources, note = locate(rows, folders, origin=path)
    samples = [WrittenSample(row.where, file, row.label, row.more) for row, file in zip(rows, sources, strict=True)]
    labelled = labelled_set(
        samples,
        origin=path,
        names=names,
        first_label=lists.first_label,
        training=training,
        multi_label=lists.multi_label,
    )
    overlaps = note_on_overlaps(labelled.samples, labelled.classes)
    return replace(labelled, note=joined_notes(labelled.note, note, overlaps))


def _rows(found: FoundList, lists: ListConfig) -> list[ListRow]:
    """The rows of the part that was found, at least one."""
    if found.class_files:
        return read_class_lists(list(found.class_files), fps=lists.fps)
    rows = read_rows(found.path, fps=lists.fps, multi_label=bool(lists.multi_label))
    splits = _splits(rows)
    if found.split is None or len(splits) < 2:
        return rows
    chosen = [row for row in rows if split_called(row.split) == found.split]
    if not chosen:
        raise DataError(f"{found.path} has no rows of {found.split}; it has rows of {', '.join(sorted(splits))}")
    return chosen


def _prefix(prefix: str) -> Path:
    folder = Path(prefix)
    if not folder.is_dir() and not remote_file(prefix):
        raise DataError(f"lists.prefix {prefix!r}: there is no folder {os.path.abspath(folder)}")
    return folder
