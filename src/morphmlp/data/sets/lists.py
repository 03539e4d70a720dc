"""Lists: which of them a folder holds, where the listed files are, and which of the classes they belong to."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from morphmlp.config import ListConfig
from morphmlp.data.media.sources import VIDEO_SUFFIXES, FrameFolder, Source, media_kind
from morphmlp.data.sets.class_names import find_class_names
from morphmlp.data.sets.labelled import LabelledSet, WrittenSample, labelled_set
from morphmlp.data.sets.layout import Layout, Place
from morphmlp.data.sets.list_rows import ListRow, read_rows
from morphmlp.data.sets.matching import composed
from morphmlp.data.sets.shards import SHARD_SUFFIX
from morphmlp.data.sets.spelling import Spelling
from morphmlp.data.sets.split_names import split_called, visible
from morphmlp.errors import DataError

_LIST_SUFFIXES = (".csv", ".txt", ".json")

# Of files that a list names without their ending; the common ones first.
_ENDINGS = sorted(VIDEO_SUFFIXES, key=lambda suffix: (suffix not in (".mp4", ".webm", ".avi", ".mkv"), suffix))


class Lists(Layout[Path]):
    may_leave_out: ClassVar[bool] = True

    def find(self, place: Place) -> Path | None:
        """A file that is no shard; of a split, the list that the configuration names, or the one in the folder."""
        root, split = place.root, place.split
        if split is None:
            return root if root.is_file() and root.suffix.lower() != SHARD_SUFFIX else None
        given = {"train": place.lists.train, "val": place.lists.val}.get(split)
        if given is not None:
            return _given_list(given, split)
        found = [path for suffix in _LIST_SUFFIXES if (path := root / f"{split}{suffix}").is_file()]
        found = found or _lists_of_other_spelling(root, split)
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise DataError(f"{root} holds {names}: which list is meant? Remove the other, or give --lists.{split}")
        return found[0] if found else None

    def read(self, found: Path, place: Place) -> LabelledSet:
        root = place.root.parent if place.split is None else place.root
        return read_list(found, lists=place.lists, root=root, training=place.training)


def _lists_of_other_spelling(root: Path, split: str) -> list[Path]:
    """`Train.csv` or `training.txt`, where a list of another part lies beside it."""
    names = visible(root, lambda entry: os.path.splitext(entry.name)[1].lower() in _LIST_SUFFIXES and entry.is_file())
    splits = {name: split_called(os.path.splitext(name)[0]) for name in names}
    if len(set(splits.values()) - {None}) < 2:
        return []
    return [root / name for name, found in splits.items() if found == split]


def _given_list(path: str, split: str) -> Path:
    if not os.path.isfile(path):
        state = "is a folder, not a list" if os.path.isdir(path) else f"there is no file {os.path.abspath(path)}"
        raise DataError(f"lists.{split} {path!r}: {state}")
    return Path(path)


def read_list(
    path: str | Path, *, lists: ListConfig | None = None, root: Path | None = None, training: bool = False
) -> LabelledSet:
    """A list in any of the formats of `list_rows`; the files are looked for, but none is opened.

    Names are relative to `lists.prefix`, or else to `root` or the list's own folder, whichever holds the first file
    that exists. Where names have no ending that is known, that file also tells whether they are folders of frames or
    which ending videos have. A listed file that does not exist stays in the set, and counts as broken when it is read.
    Labels are read as `labelled_set` says; a label file is looked for beside the list, then in `root`.

    Args:
        root: the data folder.
        training: the labels should use every class (see `labelled_set`).

    Raises:
        DataError: naming the row that cannot be used, or saying that no file exists.
    """
    path = Path(path)
    lists = lists or ListConfig()
    rows = read_rows(path)
    own_folders = list(dict.fromkeys(folder for folder in (path.parent, root) if folder is not None))
    folders = own_folders[::-1] if lists.prefix is None else [_prefix(lists.prefix)]
    names = find_class_names(lists.labels, own_folders)
    locate = _kinetics_sources if rows[0].youtube_id else _sources
    samples = [
        WrittenSample(row.where, source, row.label)
        for row, source in zip(rows, locate(rows, folders, origin=path), strict=True)
    ]
    return labelled_set(samples, origin=path, names=names, first_label=lists.first_label, training=training)


def _prefix(prefix: str) -> Path:
    folder = Path(prefix)
    if not folder.is_dir():
        raise DataError(f"lists.prefix {prefix!r}: there is no folder {os.path.abspath(folder)}")
    return folder


def _sources(rows: list[ListRow], folders: Sequence[Path], *, origin: Path) -> list[Source]:
    """Each row's file, or folder of frames; the first that is found decides for all."""
    spelled = [Spelling(folder) for folder in folders]
    candidates = ((folder, row) for row in rows for folder in spelled)
    folder = next((folder for folder, row in candidates if _ending(folder, row.name) is not None), None)
    if folder is None:
        looked_for = [os.path.join(folder, row.name) for row in rows[:3] for folder in folders[:1]]
        raise _nothing_found(rows, looked_for, folders, origin=origin)
    unnamed = (row.name for row in rows if media_kind(row.name) is None)
    ending = next((ending for name in unnamed if (ending := _ending(folder, name)) is not None), "")
    return [_source(folder, row, ending, origin=origin) for row in rows]


def _ending(folder: Spelling, name: str) -> str | None:
    """What must be added to a name to get one that exists: nothing, or a video's ending; None where none does."""
    path = folder.path_of(name)
    if os.path.exists(path):
        return ""
    if media_kind(name) is not None or not os.path.isdir(os.path.dirname(path)):
        return None
    return next((ending for ending in _ENDINGS if os.path.exists(folder.path_of(name + ending))), None)


def _source(folder: Spelling, row: ListRow, ending: str, *, origin: Path) -> Source:
    if media_kind(row.name) is not None:
        return folder.path_of(row.name)
    if row.num_frames is not None and not ending:
        return FrameFolder(folder.path_of(row.name), row.first, row.num_frames)
    if row.first is not None:
        raise DataError(
            f"{origin}, {row.where}: {row.name}{ending} is a video, of which a list cannot name a part yet (frames "
            f"{row.first} to {row.first + (row.num_frames or 0) - 1}): it would be taken whole; cut it, or list "
            "folders of frames"
        )
    return folder.path_of(row.name + ending)


def _nothing_found(rows: list[ListRow], looked_for: list[str], folders: Sequence[Path], *, origin: Path) -> DataError:
    endings = "" if media_kind(rows[0].name) else " (a folder of frames, or with the ending of a video)"
    return DataError(
        f"{origin}: none of its {len(rows)} files exists; looked for {', '.join(looked_for)}{endings} and so on, in "
        f"{' and '.join(os.path.abspath(folder) for folder in folders)}; give the folder that the names are relative "
        "to as --lists.prefix"
    )


def _kinetics_sources(rows: list[ListRow], folders: Sequence[Path], *, origin: Path) -> list[Source]:
    """Each row's file `<id>_<start>_<end>.mp4`, anywhere below the first folder that has any.

    Raises:
        DataError: there is none, or only one without the times, which may be the whole video.
    """
    for folder in folders:
        files = _files_by_stem(folder)
        found = [_best(files.get(row.name, []), row) for row in rows]
        for row, file in zip(rows, found, strict=True):
            if file is None and (whole := _best(files.get(row.youtube_id or "", []), row)):
                raise DataError(
                    f"{origin}, {row.where}: {whole} is named without its times, and those of the list cannot be cut "
                    f"out of it yet: it would be taken whole; call it {row.name}{os.path.splitext(whole)[1]} if it is "
                    "cut already, or list it in a csv of path,label"
                )
        if any(found):
            pairs = zip(rows, found, strict=True)
            return [Path(file) if file else folder / f"{row.name}.mp4" for row, file in pairs]
    raise _nothing_found(rows, [f"{row.name}.mp4" for row in rows[:3]], folders, origin=origin)


def _best(files: list[str], row: ListRow) -> str | None:
    """Of several files with one name, the one in the folders of the row's split and class."""
    label = composed(row.label)
    wanted = {row.split, label, label.replace(" ", "_")}
    return max(files, key=lambda file: len(wanted.intersection(composed(file).split(os.sep))), default=None)


def _files_by_stem(folder: Path) -> dict[str, list[str]]:
    files: dict[str, list[str]] = defaultdict(list)
    for directory, names in _walk(folder):
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in VIDEO_SUFFIXES:
                files[stem].append(os.path.join(directory, name))
    return files


def _walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each directory below with the names of its files; links are followed, but no directory is entered twice."""
    entered = set()
    for directory, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(directory)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders.sort()
        yield directory, names
