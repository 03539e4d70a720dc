"""Class folders: `DIR/<class>/*.mp4`, or `DIR/<split>/<class>/*.mp4`."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from morphmlp.data.media.sources import SUFFIXES, MediaKind
from morphmlp.data.sets.class_names import find_class_names
from morphmlp.data.sets.find import find_media, find_videos
from morphmlp.data.sets.labelled import LabelledSet, Sample, only_kind
from morphmlp.data.sets.layout import Layout, Place
from morphmlp.data.sets.matching import composed
from morphmlp.data.sets.pictures_and_masks import refuse_masks
from morphmlp.data.sets.split_names import refuse_parts, split_folder
from morphmlp.errors import DataError
from morphmlp.formatting import shortened


class ClassFolders(Layout[Path]):
    def find(self, place: Place) -> Path | None:
        """Any folder; of a split, one with folders in it, as a class may be called `train` and then holds videos."""
        if place.split is None:
            return place.root
        folder = split_folder(place.root, place.split)
        return folder if folder and any(entry.is_dir() for entry in folder.iterdir()) else None

    def read(self, found: Path, place: Place) -> LabelledSet:
        if place.lists.multi_label:
            raise DataError(
                f"{found}: class folders give each file one class; a multi-label classifier needs a list of files with "
                "all of their labels"
            )
        whole = read_class_folders(found, frame_folders=place.lists.frame_folders)
        names = find_class_names(place.lists.labels, [])
        if names is None:
            return whole
        return replace(whole.relabelled(names.names, source=names.source, advice=names.advice), named_by_file=True)


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
    refuse_parts(root, folders)
    left_out: Counter[str] = Counter()
    files: dict[str, list[Path]] = {}  # two folders may spell one name in two Unicode forms
    for folder in sorted(folders, key=lambda folder: composed(folder.name)):
        found = find_videos(folder) if frame_folders else find_media(folder, left_out=left_out)
        files[composed(folder.name)] = files.get(composed(folder.name), []) + found
    kind = "video" if frame_folders else only_kind((path for paths in files.values() for path in paths), source=root)
    empty = [name for name, paths in files.items() if not paths]
    if empty:
        raise _nothing_in(root, empty, kind, frame_folders=frame_folders)
    if kind == "image":
        refuse_masks(root, files)
    samples = [Sample(path, label) for label, paths in enumerate(files.values()) for path in paths]
    return LabelledSet(samples, list(files), kind=kind or "video", left_out=left_out)


def _nothing_in(root: Path, empty: list[str], kind: MediaKind | None, *, frame_folders: bool) -> DataError:
    if frame_folders:
        return DataError(f"{root}: no videos in {shortened(empty)}; expected folders of images, or video files")
    known = " ".join(sorted(SUFFIXES[kind] if kind else SUFFIXES["video"] | SUFFIXES["image"]))
    wanted = f"{kind}s" if kind else "videos or images"
    return DataError(f"{root}: no {wanted} in {shortened(empty)}; files are taken by their ending: {known}")
