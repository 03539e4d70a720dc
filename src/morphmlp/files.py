"""Writing that is all or nothing: to a temporary name, then renamed."""

import errno
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from morphmlp.errors import DataError
from morphmlp.formatting import as_json


@contextmanager
def replaced_folder(folder: str | Path) -> Iterator[Path]:
    """Yields a new folder that takes the place of `folder` if the body succeeds, and vanishes if it fails.

    Raises:
        NotADirectoryError: `folder` is a file; the file stays.
    """
    folder = Path(os.path.realpath(folder))
    with new_folder(folder) as temporary:
        yield temporary
        sync_files(temporary)
        _swap_in(temporary, folder)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yields a new, hidden folder beside `folder`, which is removed at the end unless it has been renamed.

    Raises:
        NotADirectoryError: `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    with _naming(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        temporary.chmod(0o777 & ~umask())
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def sync_files(folder: Path) -> None:
    """Waits until the files in a folder are on the disk: a rename must not overtake them when the power fails."""
    for path in folder.iterdir():
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())


def _swap_in(temporary: Path, folder: Path) -> None:
    """Renames `temporary` to `folder`; what was there is removed afterwards, or put back if that fails."""
    old = temporary.with_name(temporary.name + "-old")
    had_one = folder.exists()
    if had_one:
        os.replace(folder, old)
    try:
        os.replace(temporary, folder)
    except OSError:
        if had_one:
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def replaced_file(path: str | Path) -> Iterator[IO[str]]:
    """Yields a text file that takes the place of `path` if the body succeeds, and vanishes if it fails."""
    # Names of files may hold bytes that are no UTF-8; they are written as they are.
    with (
        _replaced(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        yield file


def replace_json(path: str | Path, values: Any) -> None:
    """Writes values as a JSON file, which takes the place of `path` when it is complete; NaN is null there."""
    with replaced_file(path) as file:
        file.write(as_json(values, indent=2) + "\n")


def replace_bytes(path: str | Path, content: bytes) -> None:
    """Writes a file that takes the place of `path` when it is complete."""
    with _replaced(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def _replaced(path: str | Path) -> Iterator[Path]:
    """Yields the name of an empty file that takes the place of `path` if the body succeeds."""
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        yield path
        return
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~umask())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of the file system name `path`, not the temporary beside it."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, error.strerror or str(error), str(path)) from error


def umask() -> int:
    """The mode bits that new files of this process leave out."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def require_own_folder(folder: Path, files: Collection[str], *, what: str) -> None:
    """Raises DataError where `folder` is a file, or holds anything but `files`, those of an earlier `what`."""
    if folder.exists() and (not folder.is_dir() or not {path.name for path in folder.iterdir()} <= set(files)):
        raise DataError(f"{folder} holds something else than {what}; choose another --out")
