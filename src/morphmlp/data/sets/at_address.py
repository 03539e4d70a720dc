"""A set at an address: a list, a shard, a file that names shards, or a folder of lists or shards.

    https://host/set/train.csv          a list, whose names are relative to its own folder
    s3://bucket/set/                    train.csv and val.csv, or train-0000.tar, ... in it
    s3://bucket/shards.txt              one name of a shard a line; or JSON with "shardlist", as WebDataset writes it

Only lists are fetched at once, and shards to be indexed; videos and images when they are decoded.
"""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from morphmlp.data.media.remote import REMOTE_SCHEMES, RemoteError, RemoteFile, is_there, remote_file
from morphmlp.data.media.remote_store import names_in
from morphmlp.data.sets.labelled import LabelledSet
from morphmlp.data.sets.layout import Layout, Place
from morphmlp.data.sets.list_rows import LIST_SUFFIXES
from morphmlp.data.sets.lists import FoundList, Lists, found_list
from morphmlp.data.sets.shards import SHARD_SUFFIX, read_shards, shards_of_split
from morphmlp.errors import DataError


class AtAddress(Layout[FoundList | list[RemoteFile]]):
    may_leave_out: ClassVar[bool] = True

    def find(self, place: Place) -> FoundList | list[RemoteFile] | None:
        """The list, or the shards, of an address; None where the place is none."""
        root = remote_file(place.root)
        if root is None:
            return None
        if place.split is not None and {"train": place.lists.train, "val": place.lists.val}.get(place.split):
            return Lists().find(place)
        suffix = os.path.splitext(root)[1].lower()
        if suffix == SHARD_SUFFIX:
            return [root] if place.split is None else None
        if suffix in LIST_SUFFIXES:
            return _listed(root, place)
        return _in_folder(RemoteFile(root.address.rstrip("/")), place)

    def read(self, found: FoundList | list[RemoteFile], place: Place) -> LabelledSet:
        if isinstance(found, FoundList):
            return Lists().read(found, replace(place, root=found.folder or place.root))
        return read_shards(found, place)


def _listed(file: RemoteFile, place: Place, *, in_folder: bool = False) -> FoundList | list[RemoteFile] | None:
    """A list, or the shards that the file names.

    Args:
        in_folder: it was found by the name of the part, all of whose rows it has unless it says otherwise.
    """
    copy = file.location
    if shards := _named_shards(copy):
        return _of_split([_beside(file, name) for name in shards], None if in_folder else place.split)
    folder = Path(os.path.dirname(file))
    return FoundList(copy, place.split, folder=folder) if in_folder else found_list(copy, place, folder=folder)


def _named_shards(copy: Path) -> list[str]:
    """The shards that a file names; none where it is a list of something else."""
    text = copy.read_bytes().decode("utf-8-sig", errors="replace")
    try:
        named = [str(shard["url"]) for shard in json.loads(text)["shardlist"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        named = [line.strip() for line in text.splitlines() if line.strip()]
    return named if all(name.lower().endswith(SHARD_SUFFIX) for name in named) else []


def _beside(file: RemoteFile, name: str) -> RemoteFile:
    """What a name in a file is: an address, or a file in the same folder."""
    return remote_file(name) or RemoteFile(f"{file.address.rpartition('/')[0]}/{name}")


def _of_split(shards: list[RemoteFile], split: str | None) -> list[RemoteFile] | None:
    """All shards, or those whose names begin with that of the part."""
    if split is None:
        return shards
    by_name = {os.path.basename(shard): shard for shard in shards}
    return [by_name[name] for name in shards_of_split(list(by_name), split)] or None


def _in_folder(folder: RemoteFile, place: Place) -> FoundList | list[RemoteFile] | None:
    """The list of a part in a folder at an address; or its shards, where the host lists folders."""
    if place.split is not None:
        lists = (RemoteFile(f"{folder.address}/{place.split}{suffix}") for suffix in LIST_SUFFIXES)
        found = next((file for file in lists if is_there(file.address)), None)
        if found is not None:
            return _listed(found, place, in_folder=True)
        inside = _shards_in(f"{folder.address}/{place.split}")
        return inside or _of_split(_shards_in(folder.address), place.split)
    if shards := _shards_in(folder.address):
        return shards
    raise DataError(
        f"{folder} has neither lists (train.csv, val.csv) nor shards (train-0000.tar) that could be found; give the "
        f"address of a list or of a .tar ({', '.join(f'{scheme}://' for scheme in REMOTE_SCHEMES)})"
    )


def _shards_in(address: str) -> list[RemoteFile]:
    """The shards right in a folder; none where it cannot be listed."""
    try:
        names = names_in(address)
    except RemoteError:
        return []
    return [RemoteFile(f"{address}/{name}") for name in names if name.lower().endswith(SHARD_SUFFIX)]
