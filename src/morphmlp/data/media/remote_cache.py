"""Copies of files at addresses, in one folder of the disk that all processes share and that does not grow without end.

    CACHE/3f/3fa9.../waves.mp4        the copy, under the digest of its address
    CACHE/3f/3fa9.../stamp.json       size and tag that the host stated, and when it was last asked
    CACHE/locks/3f.lock               held while a copy is fetched, so that two processes do not fetch it twice
    CACHE/num_bytes                   about how many bytes the copies have

A copy is complete or not there. The folder of a copy has the time of its last use; those that were not used for longest
go first. After an hour, the host is asked whether the file has changed.
"""

import hashlib
import json
import os
import re
import shutil
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from morphmlp.data.media.limits import most_cache_bytes
from morphmlp.data.media.remote_store import RemoteError, Stamp, fetch, shown_address, stamp_of
from morphmlp.files import DISK_FULL, UNFINISHED, replace_json, replaced_folder
from morphmlp.system import cache_folder

_CHECK_AFTER_S = 3600
_KEPT = 0.9  # share of the bound that is left when it is reached, so that not every file makes others go
_FILES = "files"
_STAMP, _TOTAL, _LOCKS = "stamp.json", "num_bytes", "locks"
_OLD_S = 86_400  # what a killed process left is of no use to anyone after a day

# In this process: copies, and when the host was asked.
_known: dict[str, tuple[Path, float]] = {}


def cached_copy(address: str) -> Path:
    """The copy of a file on this disk, fetched if there is none or if it has changed.

    Raises:
        RemoteError: it cannot be fetched, is larger than the cache may be, or the disk is full.
    """
    copy, asked = _known.get(address, (None, 0.0))
    if copy is None or time.time() - asked > _CHECK_AFTER_S or not copy.exists():
        copy, asked = _fresh_copy(address)
        _known[address] = copy, asked
    _touch(copy.parent)
    return copy


def known_size(address: str) -> int | None:
    """The size of a file when it was last fetched; None where there is no copy."""
    stamp = _read_stamp(_folder(address))
    return stamp[0].size if stamp else None


def state_at(address: str) -> tuple[int, int]:
    """Two numbers that change when the file does: of what the host states, so that the file need not be fetched.

    Only where the host states nothing but a size, they are of a copy.

    Raises:
        RemoteError: the host does not answer, or the file cannot be fetched.
    """
    folder = _folder(address)
    found = _read_stamp(folder) if _content(folder, address).exists() else None
    stamp = found[0] if found and time.time() - found[1] <= _CHECK_AFTER_S else stamp_of(address)
    if stamp.tag:
        return stamp.size or 0, _time_ns(stamp)
    status = cached_copy(address).stat()
    return status.st_size, status.st_mtime_ns


def _fresh_copy(address: str) -> tuple[Path, float]:
    from filelock import FileLock

    folder = _folder(address)
    try:
        lock = cache_folder(_FILES) / _LOCKS / f"{folder.parent.name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            found = _read_stamp(folder) if _content(folder, address).exists() else None
            if found is None or time.time() - found[1] > _CHECK_AFTER_S:
                return _asked_copy(folder, address, None if found is None else found[0]), time.time()
            return _content(folder, address), found[1]
    except OSError as error:
        raise RemoteError(shown_address(address), _why_not_kept(error)) from None


def _asked_copy(folder: Path, address: str, known: Stamp | None) -> Path:
    """The copy after the host was asked for the file as it is now."""
    stamp = stamp_of(address)
    if known != stamp or not stamp.tag:
        for last in (False, True):
            _make_room(address, stamp.size or 0)
            _fetch_into(folder, address, stamp)
            if (now := stamp_of(address)) == stamp:
                break
            stamp = now
            shutil.rmtree(folder, ignore_errors=True)
            if last:
                raise RemoteError(shown_address(address), "changes while it is fetched; try again when it is complete")
    else:
        replace_json(folder / _STAMP, {"size": stamp.size, "tag": stamp.tag, "asked_s": time.time()})
    return _content(folder, address)


def _fetch_into(folder: Path, address: str, stamp: Stamp) -> None:
    """Fetches a file; its copy takes the place of an earlier one when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replaced_folder(folder) as new:
        content = new / _content(folder, address).name
        fetch(address, os.fspath(content), check=lambda num_bytes: _require_room(address, num_bytes))
        size = content.stat().st_size
        if stamp.size not in (None, size):
            reason = f"the connection broke off after {size} of {stamp.size} bytes; try again"
            if stamp_of(address) != stamp:
                reason = "changes while it is fetched; try again when it is complete"
            raise RemoteError(shown_address(address), reason)
        # Of the tag: a copy that is fetched again is the same file to all that remember files by size and time.
        time_ns = _time_ns(stamp if stamp.tag else _digest(content))
        os.utime(content, ns=(time_ns, time_ns))
        replace_json(new / _STAMP, {"size": stamp.size, "tag": stamp.tag, "asked_s": time.time()})
    with _room():
        _set_total((_total() or 0) + size)


def _digest(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _time_ns(what: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:7])


def _folder(address: str) -> Path:
    digest = hashlib.sha256(address.encode()).hexdigest()[:32]
    return cache_folder(_FILES) / digest[:2] / digest


def _content(folder: Path, address: str) -> Path:
    """The copy, under the file's own name, as messages show it, and its ending says of what kind it is."""
    name = shown_address(address).rstrip("/").rpartition("/")[2]
    return folder / (re.sub(r"[^\w.-]", "_", name)[-100:].lstrip(".") or "content")


def _read_stamp(folder: Path) -> tuple[Stamp, float] | None:
    """What the host stated of a copy, and when it was asked; None where there is no copy."""
    try:
        values = json.loads((folder / _STAMP).read_text(encoding="utf-8"))
        return Stamp(values["size"], values["tag"]), float(values["asked_s"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _touch(folder: Path) -> None:
    with suppress(OSError):  # a folder that others share and only read, or one that was just evicted
        os.utime(folder)


def _make_room(address: str, num_bytes: int) -> None:
    """Removes the copies that were not used for longest until a new one has room.

    Raises:
        RemoteError: the file is larger than the cache may be.
    """
    _require_room(address, num_bytes)
    bound = most_cache_bytes()
    with _room():
        total = _total()
        if total is None or total + num_bytes > bound:
            _set_total(_evict(_KEPT * bound - num_bytes))


def _require_room(address: str, num_bytes: int) -> None:
    """Raises RemoteError where a file is larger than the cache may be."""
    bound = most_cache_bytes()
    if num_bytes > bound:
        raise RemoteError(
            shown_address(address),
            f"has {num_bytes / 1e9:.3g} GB or more, but the cache may hold {bound / 1e9:.3g} GB: give a larger "
            "--cache-gb, or set MORPHMLP_CACHE_GB",
        )


def _room() -> AbstractContextManager[Any]:
    """Held by the process that changes how many bytes the copies have."""
    from filelock import FileLock

    return FileLock(cache_folder(_FILES) / _LOCKS / "room.lock")


def _evict(most: float) -> int:
    """Removes copies, the longest unused first, until the rest has at most so many bytes; returns how many it has."""
    copies = []
    for folder in cache_folder(_FILES).glob("??/*"):
        try:
            if folder.name.endswith(UNFINISHED):
                if time.time() - folder.stat().st_mtime > _OLD_S:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            size = sum(file.stat().st_size for file in folder.iterdir())
            copies.append((folder.stat().st_mtime_ns, size, folder))
        except OSError:  # another process has removed it
            continue
    left = sum(size for _, size, _ in copies)
    for _, size, folder in sorted(copies):
        if left <= most:
            break
        shutil.rmtree(folder, ignore_errors=True)
        left -= size
    return left


def _total() -> int | None:
    try:
        return int((cache_folder(_FILES) / _TOTAL).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _set_total(num_bytes: int) -> None:
    (cache_folder(_FILES) / _TOTAL).write_text(str(num_bytes), encoding="ascii")


def _why_not_kept(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in DISK_FULL:
        reason = f"{reason}; free some space, give a smaller --cache-gb, or name another disk by MORPHMLP_CACHE"
    else:
        reason = f"{reason}; name another folder by MORPHMLP_CACHE"
    return f"cannot be kept in {cache_folder(_FILES)}: {reason}"
