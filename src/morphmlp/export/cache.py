"""Exports that `--engine` makes by itself, kept in the user's cache: one for each checkpoint, engine and precision.

An entry is a folder as `morphmlp export` writes it, under a name made from the digest of all that it depends on. It
takes its name when it is complete, and its model's digest is checked when it is opened: half of one never counts.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from morphmlp.checkpoints.hub import local_checkpoint
from morphmlp.checkpoints.info import CONFIG_FILE, WEIGHTS_FILE
from morphmlp.errors import CheckpointError
from morphmlp.files import UNFINISHED, held
from morphmlp.inference.engines import EXPORTED
from morphmlp.inference.runtimes import Runtime, file_digest, load_runtime
from morphmlp.system import cache_folder

MOST_ENTRIES, MOST_BYTES = 16, 4 * 10**9  # those used last are kept


def entry_folder(checkpoint: str | Path, engine: str, precision: str) -> Path:
    """Where the export of a checkpoint for an engine is, or would be.

    Raises:
        CheckpointError: a file of the checkpoint cannot be read.
    """
    folder = local_checkpoint(checkpoint)
    digests = [_digest(folder / name) for name in (WEIGHTS_FILE, CONFIG_FILE)]
    text = "\n".join([*digests, engine, precision, version("morphmlp")])
    return exports_folder() / hashlib.sha256(text.encode()).hexdigest()[:32]


def _digest(path: Path) -> str:
    """Of a file that has not changed since, it is read once: weights may have gigabytes."""
    try:
        stat = path.stat()
    except OSError:
        return file_digest(path)  # says what is wrong
    return _digest_once(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest_once(path: Path, num_bytes: int, changed_ns: int) -> str:
    return file_digest(path)


def exports_folder() -> Path:
    """The folder of all entries."""
    return cache_folder("exports")


def cached_runtime(checkpoint: str | Path, engine: str, precision: str) -> Runtime | None:
    """The export of a checkpoint for an engine, opened; None where there is none that is whole.

    Raises:
        UserError: the engine is not installed.
    """
    folder = entry_folder(checkpoint, engine, precision)
    if not (folder / CONFIG_FILE).is_file():
        return None
    try:
        runtime = load_runtime(folder)
    except CheckpointError:  # damaged, or just being replaced
        return None
    with suppress(OSError):
        os.utime(folder)  # used last
    return runtime


def exported_runtime(
    checkpoint: str | Path, engine: str, precision: str, *, tell: Callable[[str], None] = lambda text: None
) -> Runtime:
    """The export of a checkpoint for an engine, opened; it is made where there is none. Needs torch for that.

    Args:
        tell: is told that an export is made, and where it is kept.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ConfigError: the engine does not compute in this precision.
        UserError: a package is missing, or the export is not near enough to the checkpoint.
        OSError: the cache cannot be written.
    """
    if found := cached_runtime(checkpoint, engine, precision):
        return found
    folder = entry_folder(checkpoint, engine, precision)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with held(folder.with_suffix(".lock"), wait=True):  # of several processes one exports, and the others wait for it
        if found := cached_runtime(checkpoint, engine, precision):
            return found
        shutil.rmtree(folder, ignore_errors=True)  # what is there is damaged
        from morphmlp.export.run import ExportOptions, export_checkpoint

        tell(f"exporting {checkpoint} for {engine}, once; it is kept in {folder}")
        options = ExportOptions(EXPORTED[engine], precision, max_drop=None if precision == "fp32" else 1.0)
        export_checkpoint(checkpoint, folder, options, files=None, source="noise")
        remove_old_entries(keep=folder)
    return load_runtime(folder)


def remove_old_entries(*, keep: Path) -> None:
    """Removes those used longest ago until the rest is within the bounds."""
    entries = [path for path in keep.parent.iterdir() if path.is_dir() and not path.name.endswith(UNFINISHED)]
    entries = sorted((path for path in entries if path != keep), key=_used_at, reverse=True)
    num_bytes = _num_bytes(keep)
    for index, path in enumerate(entries, start=1):
        num_bytes += _num_bytes(path)
        if index >= MOST_ENTRIES or num_bytes > MOST_BYTES:
            shutil.rmtree(path, ignore_errors=True)


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has just removed it
        return 0.0


def _num_bytes(folder: Path) -> int:
    with suppress(OSError):
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0
