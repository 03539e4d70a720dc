"""Where the files of a list are: by their names below a folder, or by their ids anywhere below it."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from morphmlp.data.media.remote import RemoteFile, is_there, place_of, remote_file
from morphmlp.data.media.sources import VIDEO_SUFFIXES, FrameFolder, MediaKind, Source, media_kind
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.formats.rows import ListRow
from morphmlp.data.sets.matching import composed
from morphmlp.data.sets.recordings import end_of
from morphmlp.data.sets.spelling import Spelling
from morphmlp.errors import DataError, MediaError

# Of files that a list names without their ending; the common ones first.
_ENDINGS = sorted(VIDEO_SUFFIXES, key=lambda suffix: (suffix not in (".mp4", ".webm", ".avi", ".mkv"), suffix))

_MOST_LOOKED_AT = 8  # files without times in their names, whose durations tell for all whether they are cut
_LEAST_TELLING_S = 2.0  # from the start of a recording: an earlier stretch looks like one that is cut
_CUT_WITHIN_S = 1.0  # a file that is cut is as long as the stretch, or off by so much


def locate(rows: Sequence[ListRow], folders: Sequence[Path], *, origin: Path) -> tuple[list[Source], str]:
    """The source of each row, and what was assumed about them, for people; "" where nothing was.

    Raises:
        DataError: none of the files exists.
    """
    return (_by_ids if rows[0].ids else _by_names)(rows, folders, origin=origin)


def _by_names(rows: Sequence[ListRow], folders: Sequence[Path], *, origin: Path) -> tuple[list[Source], str]:
    """Each row's file, or folder of frames; the first that is found decides for all."""
    spelled = [Spelling(folder) for folder in folders]
    # A host is not asked for every file of a list that is elsewhere.
    looked_at = rows[:_MOST_LOOKED_AT] if any(map(remote_file, [*folders, rows[0].name])) else rows
    candidates = ((folder, row) for row in looked_at for folder in spelled)
    folder = next((folder for folder, row in candidates if _ending(folder, row.name) is not None), None)
    if folder is None:
        looked_for = [str(_place(folder, row.name)) for row in rows[:3] for folder in spelled[:1]]
        raise _nothing_found(rows, looked_for, folders, origin=origin)
    unnamed = (row.name for row in rows if _named_kind(row.name) is None)
    ending = next((ending for name in unnamed if (ending := _ending(folder, name)) is not None), "")
    first_number = 0 if any(row.first == 0 for row in rows) else 1
    sources = [_source(folder, row, ending, first_number) for row in rows]
    counted = [source for source, row in zip(sources, rows, strict=True) if row.first is not None]
    if not any(isinstance(source, Stretch) for source in counted):
        return sources, ""
    reason = "as a row says 0" if first_number == 0 else "as no row says 0"
    return (
        sources,
        f"frame numbers of {origin.name} count from {first_number}, {reason}: parts of videos are cut by them",
    )


def _ending(folder: Spelling, name: str) -> str | None:
    """What must be added to a name to get one that exists: nothing, or a video's ending; None where none does."""
    path = _place(folder, name)
    if is_there(path):
        return ""
    if _named_kind(name) is not None or not (isinstance(path, RemoteFile) or os.path.isdir(os.path.dirname(path))):
        return None
    return next((ending for ending in _ENDINGS if is_there(_place(folder, name + ending))), None)


def _place(folder: Spelling, name: str) -> Path | RemoteFile:
    """The file or folder that a name in a list means: below the folder, or at the address that the name is."""
    if remote := remote_file(name):
        return remote
    path = folder.path_of(name)
    return remote_file(os.path.normpath(path)) or path


def _named_kind(name: str) -> MediaKind | None:
    """The kind that a name's ending says; what follows `?` in an address is no part of it."""
    return media_kind(remote_file(name) or name)


def _source(folder: Spelling, row: ListRow, ending: str, first_number: int) -> Source:
    """A row's source; the part of a folder that turns out to be a video is a stretch of it.

    `jumping/a 1 17 0` is the part with the images 1 to 17: frames 0 to 16 of `jumping/a.mp4`.
    """
    path = _place(folder, row.name if _named_kind(row.name) is not None else row.name + ending)
    if row.start is not None and row.end is not None:
        return Stretch(path, row.start, row.end, row.unit)
    if row.num_frames is None:
        return path
    if media_kind(path) is None:
        if isinstance(path, RemoteFile):
            raise DataError(f"{path} is a folder of frames, which is not read at an address; pack the set into shards")
        return FrameFolder(path, row.first, row.num_frames)
    if row.first is None:
        return path
    start = row.first - first_number
    return Stretch(path, start, start + row.num_frames, "frames")


def _nothing_found(
    rows: Sequence[ListRow], looked_for: list[str], folders: Sequence[Path], *, origin: Path
) -> DataError:
    endings = "" if media_kind(rows[0].name) else " (a folder of frames, or with the ending of a video)"
    return DataError(
        f"{origin}: none of its {len(rows)} files exists; looked for {', '.join(looked_for)}{endings} and so on, in "
        f"{' and '.join(map(place_of, folders))}; give the folder that the names are relative "
        "to as --lists.prefix"
    )


def _by_ids(rows: Sequence[ListRow], folders: Sequence[Path], *, origin: Path) -> tuple[list[Source], str]:
    """Each row's file, anywhere below the first folder that has any: one that is cut, or the whole recording."""
    for folder in folders:
        if remote_file(folder):
            raise DataError(
                f"{origin} names videos by their ids, which are looked for in all of a folder; {place_of(folder)} "
                "cannot be looked through: give a list of path,label rows"
            )
        files = _files_by_stem(folder)
        cut = [None if row.name in row.ids else _best(files.get(row.name, []), row) for row in rows]
        whole = [_best([file for name in row.ids for file in files.get(name, [])], row) for row in rows]
        if any(cut) or any(whole):
            return _cut_or_whole(rows, folder, cut, whole, origin=origin)
    looked_for = [f"{_expected(row)}.mp4" for row in rows[:3]]
    raise _nothing_found(rows, looked_for, folders, origin=origin)


def _expected(row: ListRow) -> str:
    """What the file of a row is usually called, without its ending."""
    return os.path.splitext(row.name)[0] if media_kind(row.name) else row.name


def _cut_or_whole(
    rows: Sequence[ListRow], folder: Path, cut: list[str | None], whole: list[str | None], *, origin: Path
) -> tuple[list[Source], str]:
    """A file that is named by the times, or as long as the stretch, is taken as it is; of others the stretch is."""
    can_be_cut = [row.name not in row.ids and media_kind(row.name) is None for row in rows]
    unclear = [
        (row, Path(w)) for row, c, w, can in zip(rows, cut, whole, can_be_cut, strict=True) if w and can and not c
    ]
    short = _shorter_than_their_times(unclear)
    sources: list[Source] = []
    for row, c, w, can in zip(rows, cut, whole, can_be_cut, strict=True):
        if c:
            sources.append(Path(c))
        elif w and row.where in short:
            sources.append(Path(w))
        elif w or not can or not any(cut):
            file = Path(w) if w else folder / f"{row.ids[0]}.mp4"
            sources.append(
                file if row.start is None or row.end is None else Stretch(file, row.start, row.end, row.unit)
            )
        else:
            sources.append(folder / f"{row.name}.mp4")
    return sources, _note(
        origin, num_cut=sum(map(bool, cut)), num_short=len(short), num_whole=len(unclear) - len(short)
    )


def _note(origin: Path, *, num_cut: int, num_short: int, num_whole: int) -> str:
    """How the files of a list were told apart; "" where none could have been the other sort."""
    found = [
        f"{num_cut} of its files are named by their times and taken whole" if num_cut else "",
        f"{num_short} are not, but as long as their stretch, and taken whole" if num_short else "",
        f"{num_whole} stretches are cut out of longer files" if num_whole else "",
    ]
    told = num_short or num_whole
    return f"{origin.name}: {', '.join(part for part in found if part)}" if told else ""


def _shorter_than_their_times(pairs: list[tuple[ListRow, Path]]) -> set[str]:
    """`where` of the rows whose files, named without times, are cut already, as their durations say.

    Where the files that are looked at are of one sort, the others are taken for that sort, too.
    """
    telling = [(row, file) for row, file in pairs if (row.start or 0) >= _LEAST_TELLING_S]
    step = max(len(telling) // _MOST_LOOKED_AT, 1)
    answers = {_is_cut(row, file) for row, file in telling[::step]} - {None}
    if len(answers) == 2:
        return {row.where for row, file in telling if _is_cut(row, file)}
    return {row.where for row, _ in pairs} if answers == {True} else set()


def _is_cut(row: ListRow, file: Path) -> bool | None:
    """Whether a file is as long as its stretch, and ends before it would; None where it cannot be read.

    A stretch from 95 to 105 s in a file of 10 s: that file is the stretch.
    """
    start_s, wanted_s = row.start or 0.0, row.end or 0.0
    try:
        end_s = end_of(file, "seconds")
    except MediaError:
        return None
    return end_s < wanted_s and abs(end_s - (wanted_s - start_s)) <= _CUT_WITHIN_S


def _best(files: list[str], row: ListRow) -> str | None:
    """Of several files with one name, the one in the folders of the row's split, class and name."""
    label = composed(row.label)
    wanted = {row.split, label, label.replace(" ", "_"), *Path(row.name).parts}
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
