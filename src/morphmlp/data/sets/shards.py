"""Videos or images in tar shards, as WebDataset keeps them: a few large files instead of many small ones.

A shard holds, for each sample, `key.mp4` (or another ending of a video or an image) and its label: `key.cls` or
`key.txt` with a number or a name, or `key.json` with "label", and perhaps "start" and "end" in seconds. Shards are
indexed once, by their headers alone, and each member is then read where it lies. So samples in shards are drawn, spread
over processes and resumed as files are.
"""

import json
import os
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from morphmlp.data.media.remote import RemoteFile, on_disk
from morphmlp.data.media.sources import TarMember, media_kind
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.class_names import find_class_names
from morphmlp.data.sets.formats.rows import is_number
from morphmlp.data.sets.labelled import LabelledSet
from morphmlp.data.sets.layout import Layout, Place
from morphmlp.data.sets.split_names import split_called, split_folder
from morphmlp.data.sets.written import SEPARATOR, WrittenSample, labelled_set
from morphmlp.errors import DataError, UserError
from morphmlp.formatting import one_line, shortened

SHARD_SUFFIX = ".tar"

_LABEL_SUFFIXES = (".cls", ".json", ".txt")  # the first that a sample has is taken
Label = tuple[str, tuple[float, float] | None]  # as written, with the start and end of a stretch; several with |
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_BLOCK = 512  # bytes: a tar archive ends in a block of zeros
_THREADS = 8  # network disks answer many requests at once
_MOST_LABEL_BYTES = 2**20


class Shards(Layout[list[Path]]):
    def find(self, place: Place) -> list[Path] | None:
        """One shard, those of a folder, or those of its split (`split/*.tar`, `split-*.tar`), in alphabetical order."""
        root, split = place.root, place.split
        if root.is_file():
            return [root] if split is None and root.suffix.lower() == SHARD_SUFFIX else None
        if split is None:
            return _shards_in(root) or None
        folder = split_folder(root, split)
        return _shards_in(folder or root, split=None if folder else split) or None

    def read(self, found: list[Path], place: Place) -> LabelledSet:
        return read_shards(found, place)


def read_shards(found: Sequence[Path | RemoteFile], place: Place) -> LabelledSet:
    """The samples of all shards.

    Raises:
        DataError: a shard is no tar archive, or is cut off; a sample lacks its label, or a label its sample; a key is
            twice in a shard; a label cannot be used.
        MediaError: a shard at an address cannot be fetched.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        samples = [sample for part in pool.map(_read_shard, found) for sample in part]
    origin = place.root / (place.split or "")
    folders = [origin, place.root, Path(os.path.dirname(found[0]))]
    names = find_class_names(place.lists.labels, folders)
    return labelled_set(
        samples,
        origin=origin,
        names=names,
        first_label=place.lists.first_label,
        training=place.training,
        multi_label=place.lists.multi_label,
    )


def _shards_in(folder: Path, *, split: str | None = None) -> list[Path]:
    """The shards of a folder, or those of a part, whose names begin with that of the part: `train-0001.tar`.

    A folder that holds folders has no shards: ImageNet's class folders may lie beside the archives they came in.

    Raises:
        DataError: they are compressed, or the folder cannot be listed.
    """
    if not folder.is_dir():
        return []
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}") from None
    if split is not None:
        names = shards_of_split(names, split)
    archives = [name for name in names if name.lower().endswith((SHARD_SUFFIX, *_COMPRESSED))]
    if not archives or (
        split is None and any(os.path.isdir(folder / name) for name in set(names).difference(archives))
    ):
        return []
    packed = [name for name in archives if name.lower().endswith(_COMPRESSED)]
    if packed:
        raise DataError(f"{folder / packed[0]} is compressed, so its members cannot be read alone; unpack it to a .tar")
    return [folder / name for name in archives]


def shards_of_split(names: Sequence[str], split: str) -> list[str]:
    """The names that begin with that of a part, such as `train-0001.tar`."""
    return [name for name in names if "-" in name and split_called(name.partition("-")[0]) == split]


@dataclass
class _Shard:
    """What the headers of a shard say: its samples by key, and their labels by ending."""

    samples: dict[str, TarMember] = field(default_factory=dict)
    parts: dict[str, tuple[float, float]] = field(default_factory=dict)  # of a sample that is a stretch, in seconds
    labels: dict[str, dict[str, str]] = field(default_factory=lambda: {suffix: {} for suffix in _LABEL_SUFFIXES})


def members_of(path: Path | RemoteFile) -> dict[Path, TarMember]:
    """The videos or images of a shard by their paths, as if the shard were a folder; none where it cannot be read."""
    try:
        return {Path(member): member for member in _indexed(path).samples.values()}
    except UserError:
        return {}


def _read_shard(path: Path | RemoteFile) -> list[WrittenSample]:
    """The samples of a shard."""
    shard = _indexed(path)
    if not shard.samples:
        raise DataError(f"{path} holds no videos or images; expected members such as key.mp4 and key.cls")
    return _samples(path, shard)


def _indexed(path: Path | RemoteFile) -> _Shard:
    """What the headers of a shard say."""
    shard = _Shard()
    try:
        _read_headers(shard, path)
    except UserError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:  # a hostile or damaged header makes tarfile raise almost anything
        state = "is cut off or damaged" if shard.samples else "is no uncompressed tar archive, or is cut off"
        reason = one_line(error) or type(error).__name__
        raise DataError(f"{path} {state} after {len(shard.samples)} samples ({reason}); copy or make it anew") from None
    return shard


def _read_headers(shard: _Shard, path: Path | RemoteFile) -> None:
    """Takes up all members.

    Raises:
        DataError: a sample or a label cannot be used.
        tarfile.ReadError: the archive is damaged. Other errors are those of headers that make no sense.
    """
    before = -1
    with tarfile.open(on_disk(path), "r:") as archive:
        for member in archive:
            if member.size < 0 or member.offset_data <= before:  # such a header may lead back to an earlier one
                raise tarfile.ReadError(f"a member of {member.size} bytes at byte {member.offset_data}")
            before = member.offset_data
            _add(shard, path, archive, member)
        end = archive.offset
    _require_end(path, end)


def _add(shard: _Shard, path: Path | RemoteFile, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    """Takes up a member if it is a sample or a label; hidden files and others are left out.

    The key is the name without its ending: `clip.v2` of `clip.v2.mp4` and `clip.v2.cls`.
    """
    key, suffix = os.path.splitext(member.name)
    suffix = suffix.lower()
    if not member.isreg() or os.path.basename(key).startswith("."):
        return
    if "\0" in member.name:
        raise DataError(f"{path}: {member.name!r} is no file name; use another tar")
    if media_kind(member.name) is not None:
        if key in shard.samples:
            raise DataError(f"{path}: {member.name} and {shard.samples[key].name} share the key {key}; rename one")
        if member.issparse():
            raise DataError(f"{path}: {member.name} is a sparse file, which is not stored as it is; use another tar")
        shard.samples[key] = TarMember(path, member.name, member.offset_data, member.size)
    elif suffix in _LABEL_SUFFIXES:
        if key in shard.labels[suffix]:
            raise DataError(f"{path}: {member.name} is there twice; each key needs one label")
        shard.labels[suffix][key], part = _read_label(path, archive, member, suffix)
        if part is not None:
            shard.parts[key] = part


def _read_label(path: Path | RemoteFile, archive: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> Label:
    """The label that a member holds, "" if it is a JSON without one, and the start and end in seconds that it gives."""
    file = archive.fileobj
    assert file is not None, "the archive is open"
    try:
        if member.size > _MOST_LABEL_BYTES:
            raise ValueError(f"it is {member.size} bytes long")
        file.seek(member.offset_data)  # ten times as fast as `extractfile`, and there are many
        content = file.read(member.size)
        if len(content) < member.size:
            raise tarfile.ReadError("unexpected end of data")
        return _label_in(content.decode("utf-8-sig").strip(), suffix)
    except ValueError as error:
        raise DataError(f"{path}: {member.name} is no label ({error})") from None


def _label_in(text: str, suffix: str) -> Label:
    if suffix != ".json":
        if not text or "\n" in text:
            raise ValueError("expected one number or name")
        return text, None
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None
    label = content.get("label", content.get("labels", "")) if isinstance(content, dict) else ""
    if isinstance(label, list) and all(isinstance(item, str | int) for item in label):
        label = SEPARATOR.join(map(str, label))
    if not isinstance(label, (str, int)):
        raise ValueError('"label" must be a number or a name, or a list of them')
    bounds = [content.get(name) for name in ("start", "end")] if isinstance(content, dict) else [None, None]
    if bounds == [None, None]:
        return str(label).strip(), None
    start, end = bounds
    if not is_number(start) or not is_number(end):
        raise ValueError('"start" and "end" must be numbers of seconds')
    return str(label).strip(), (start, end)


def _require_end(path: Path | RemoteFile, end: int) -> None:
    """An archive that was cut off between two members looks complete, but for the block of zeros at its end."""
    with open(on_disk(path), "rb") as file:
        file.seek(end)
        if file.read(_BLOCK) != bytes(_BLOCK):
            raise tarfile.ReadError(f"no end of the archive at byte {end}")


def _samples(path: Path | RemoteFile, shard: _Shard) -> list[WrittenSample]:
    """Samples with their labels; every sample has one, and every `.cls` its sample."""
    orphans = [f"{key}.cls" for key in shard.labels[".cls"] if key not in shard.samples]
    if orphans:
        raise DataError(f"{path}: {len(orphans)} labels have no video or image: {shortened(orphans)}")
    samples = []
    unlabelled = []
    for key, member in shard.samples.items():
        label = next((found for labels in shard.labels.values() if (found := labels.get(key))), None)
        if label is None:
            unlabelled.append(member.name)
        else:
            source = Stretch(member, *shard.parts[key]) if key in shard.parts else member
            samples.append(WrittenSample(f"{os.path.basename(path)}/{member.name}", source, label))
    if unlabelled:
        raise DataError(
            f"{path}: {len(unlabelled)} of {len(shard.samples)} samples have no label: {shortened(unlabelled)}; "
            "expected key.cls, key.txt, or key.json with a label"
        )
    return samples
