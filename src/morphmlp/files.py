"""Writing that is all or nothing: to a temporary name beside the target, then renamed."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replaced_folder(folder: str | Path) -> Iterator[Path]:
    """Yields a new folder that takes the place of `folder` if the body succeeds, and vanishes if it fails.

    Raises:
        NotADirectoryError: a file stands at `folder`; it is left there.
    """
    folder = Path(folder).resolve()
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    temporary.chmod(0o777 & ~umask())
    try:
        yield temporary
        _swap_in(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap_in(temporary: Path, folder: Path) -> None:
    """Renames `temporary` to `folder`; what stood there is removed afterwards, or put back if that fails."""
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
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        # Names of files may hold bytes that are no UTF-8; they are written as they are.
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file
        os.chmod(temporary, 0o666 & ~umask())
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def umask() -> int:
    """The mode bits that new files of this process leave out."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
