"""Videos, images and folders of frames below a folder, or those that a pattern names."""

import glob
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from morphmlp.data.media.animations import are_animations
from morphmlp.data.media.formats import refuse_address
from morphmlp.data.media.remote import remote_file
from morphmlp.data.media.sources import SUFFIXES, MediaKind, Source, media_kind
from morphmlp.errors import DataError
from morphmlp.formatting import shortened


def expand_sources(patterns: list[str], kind: MediaKind) -> list[Source]:
    """Files at addresses as they are, and of all else what `expand_paths` finds; each once.

    Raises:
        DataError: as for `expand_paths`.
    """
    sources: dict[Source, None] = {}
    for pattern in patterns:
        remote = remote_file(pattern)
        sources.update(dict.fromkeys([remote] if remote else expand_paths([pattern], kind)))
    return list(sources)


def expand_paths(patterns: list[str], kind: MediaKind) -> list[Path]:
    """Files as they are, folders as the videos (or images) in them, and globs as what they match; each once.

    Where videos are wanted, a folder without video files but with images is one video, or has folders that are.

    Raises:
        DataError: a pattern without a file, or a folder without one of the kind.
    """
    paths: dict[Path, None] = {}
    for pattern in patterns:
        if not pattern:
            raise DataError("a path is empty; give files, folders or globs")
        refuse_address(pattern)
        if Path(pattern).is_dir():
            found = find_media(Path(pattern), kind)
            if not found and kind == "video":
                found = _animations(Path(pattern)) or _frame_folders(Path(pattern))
        elif Path(pattern).exists() or not glob.has_magic(pattern):
            found = [Path(pattern)]
        else:
            found = [Path(match) for match in sorted(glob.glob(pattern, recursive=True)) if Path(match).is_file()]
        if not found:
            raise DataError(f"{pattern}: no {kind}s found")
        paths.update(dict.fromkeys(found))
    return list(paths)


def _animations(folder: Path) -> list[Path]:
    """The images below a folder, where they are animations."""
    images = find_media(folder, "image")
    return images if are_animations(images) else []


def _frame_folders(folder: Path) -> list[Path]:
    """The folder itself, if images lie in it, or the folders of frames below it."""
    if any(media_kind(entry.name) == "image" for entry in folder.iterdir()):
        return [folder]
    return find_videos(folder)


def find_media(folder: Path, kind: MediaKind | None = None, *, left_out: Counter[str] | None = None) -> list[Path]:
    """Videos and images below `folder`, or those of one kind, in alphabetical order.

    They are told by their endings; hidden files and folders are left out, and so are links to folders.

    Args:
        left_out: counts the other files by their endings.

    Raises:
        DataError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be listed: {error.strerror}")

    wanted = {kind} if kind else set(SUFFIXES)
    paths = []
    for directory, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = [name for name in names if not name.startswith(".")]
        paths.extend(Path(directory, name) for name in visible if media_kind(name) in wanted)
        if left_out is not None:
            left_out.update(os.path.splitext(n)[1].lower() for n in visible if media_kind(n) not in wanted)
    return sorted(paths)


def describe_left_out(left_out: Mapping[str, int]) -> str:
    """How many files are left out, and of which endings, most frequent first; "" where there are none.

    >>> describe_left_out({".txt": 1, ".jfif": 6})
    '7 files are left out, with endings that are not known as those of videos or images: .jfif (6), .txt (1)'
    """
    if not left_out:
        return ""
    counts = sorted(left_out.items(), key=lambda item: -item[1])
    shown = shortened([f"{ending or 'no ending'} ({count:,})" for ending, count in counts])
    number = sum(left_out.values())
    return (
        f"{number:,} {'files are' if number > 1 else 'file is'} left out, with endings that are not known as those of "
        f"videos or images: {shown}"
    )


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
