"""Writing that is all or nothing: to a temporary name, then renamed."""

import errno
import glob
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from morphmlp.errors import ConfigError, DataError
from morphmlp.formatting import as_json
from morphmlp.signals import end_if_asked

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # or the quota, or the largest file of the file system
UNFINISHED = ".unfinished"  # how temporary names end
_NEW, _OLD, _LOCK = "new", "old", "lock"  # in a folder of that name


@contextmanager
def replaced_folder(folder: str | Path) -> Iterator[Path]:
    """Yields a new folder that takes the place of `folder` if the body succeeds, and vanishes if it fails.

    Raises:
        NotADirectoryError: `folder` is a file; the file stays.
    """
    folder = Path(os.path.realpath(folder))
    with new_folder(folder) as temporary:
        yield temporary
        end_if_asked()
        sync_files(temporary)
        _swap_in(temporary, folder)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yields a new folder, hidden beside `folder`, which is removed at the end unless it has been renamed.

    Raises:
        NotADirectoryError: `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    with _naming(folder), _workspace(folder) as place:
        temporary = place / _NEW
        temporary.mkdir()
        yield temporary


@contextmanager
def _workspace(path: Path) -> Iterator[Path]:
    """Yields a new, hidden folder beside `path`: what is to take its place, what was there, and a lock.

    The lock says that this process is at work: of what a killed one leaves, nobody has the lock. It is a file of its
    own, as Windows renames nothing that is open.
    """
    _make_parent(path)
    clear_unfinished(path)
    place = Path(tempfile.mkdtemp(prefix=f".{path.name}-", suffix=UNFINISHED, dir=path.parent))
    try:
        with _held(place / _LOCK):
            yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _make_parent(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # a file is in the place of a folder
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None


def clear_unfinished(path: Path) -> None:
    """Removes what killed processes left beside `path`; what one of them had moved aside comes back."""
    for left in path.parent.glob(f".{glob.escape(path.name)}-????????{UNFINISHED}"):  # as `tempfile` makes names
        if not (left / _LOCK).exists():  # just begun
            continue
        with _held(left / _LOCK) as free:
            if free and (left / _OLD).exists() and not path.exists():
                os.replace(left / _OLD, path)
        if free:
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _held(lock: Path) -> Iterator[bool]:
    """As `held`, for locks that tell whether a process lives; on a file system without locks, all seem to live."""
    with ExitStack() as stack:
        try:
            free = stack.enter_context(held(lock))
        except OSError:
            free = False
        yield free


@contextmanager
def held(lock: Path, *, wait: bool = False) -> Iterator[bool]:
    """Holds the lock that a file is for until the body or the process ends; yields False where another process has it.

    The file is there as long as the lock is held. Of processes that wait, one may have opened the file that is then
    removed: `filelock` does not count a lock of such a file, and opens the next one.

    Args:
        wait: for another process to give it up.

    Raises:
        OSError: the file cannot be made, or its file system has no locks.
    """
    from filelock import FileLock, Timeout  # not for `--help`

    file = FileLock(lock)
    with suppress(Timeout):
        file.acquire(timeout=-1 if wait else 0)
    try:
        yield file.is_locked
    finally:
        if file.is_locked:
            with suppress(OSError):  # Windows removes no file that is open; there `release` does it
                lock.unlink()
            file.release()


def sync_files(folder: Path) -> None:
    """Waits until the files in a folder are on the disk: a rename must not overtake them when the power fails."""
    for path in folder.iterdir():
        if path.is_file():
            with open(path, "r+b") as file:  # Windows syncs only what may be written
                os.fsync(file.fileno())


def _swap_in(temporary: Path, folder: Path) -> None:
    """Renames `temporary` to `folder`; what was there is moved aside, and put back if that fails."""
    if not folder.exists():
        os.replace(temporary, folder)
        return
    old = temporary.with_name(_OLD)
    os.replace(folder, old)
    try:
        os.replace(temporary, folder)
    except OSError:
        os.replace(old, folder)
        raise


@contextmanager
def replaced_file(path: str | Path) -> Iterator[IO[str]]:
    """Yields a text file that takes the place of `path` if the body succeeds, and vanishes if it fails."""
    # Names of files may hold bytes that are no UTF-8; they are written as they are.
    with (
        _replaced(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        yield file


@contextmanager
def replaced_bytes(path: str | Path) -> Iterator[IO[bytes]]:
    """Yields a binary file that takes the place of `path` if the body succeeds, and vanishes if it fails."""
    with _replaced(path) as temporary, open(temporary, "wb") as file:
        yield file


def require_replaceable(path: str | Path) -> None:
    """Raises OSError where a file could not be written there, without making any: for before hours of work."""
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    parent = next(folder for folder in path.parents if folder.exists())
    if not parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if not path.exists() and not os.access(parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def require_apart(outputs: Iterable[tuple[str, str | Path]], inputs: Iterable[str | Path] = ()) -> None:
    """Raises ConfigError where two outputs are one file, or an output is an input, which it would replace.

    Args:
        outputs: the option and the path of each, such as `("--out", "x.csv")`. Devices and pipes are not replaced.
    """
    sources = {os.path.normcase(os.path.realpath(path)) for path in inputs}
    taken: dict[str, str] = {}
    for option, path in outputs:
        place = os.path.normcase(os.path.realpath(path))
        if os.path.exists(place) and not os.path.isfile(place) and not os.path.isdir(place):
            continue
        if place in sources:
            raise ConfigError(f"{option} {path} is the source itself; give another name")
        if place in taken:
            raise ConfigError(f"{option} {path} is also written by {taken[place]}; give each result a name of its own")
        taken[place] = option


def replace_json(path: str | Path, values: Any) -> None:
    """Writes values as a JSON file, which takes the place of `path` when it is complete; NaN is null there."""
    with replaced_file(path) as file:
        file.write(as_json(values, indent=2) + "\n")


def replace_bytes(path: str | Path, content: bytes) -> None:
    """Writes a file that takes the place of `path` when it is complete."""
    with _replaced(path) as temporary:
        temporary.write_bytes(content)


class AppendedFile:
    """A file that grows by whole records, each of which ends a line: a reader or a later run finds no half of one.

    What a killed process has left of a record is cut off when the file is opened, and what a full disk has taken of one
    when that fails.

    Raises:
        OSError: it names the file.
    """

    def __init__(self, path: Path):
        self.path = path
        with _naming(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            self.num_bytes = end_of_records(self._descriptor)
            self._cut()

    def append(self, record: bytes) -> None:
        """Adds a record, or several; other processes can read it from now on."""
        with _naming(self.path):
            try:
                written = 0
                while written < len(record):
                    written += os.write(self._descriptor, record[written:])
            except OSError:
                self._cut()
                raise
        self.num_bytes += len(record)

    def _cut(self) -> None:
        os.ftruncate(self._descriptor, self.num_bytes)
        os.lseek(self._descriptor, self.num_bytes, os.SEEK_SET)

    def close(self) -> None:
        os.close(self._descriptor)


def end_of_records(descriptor: int, *, block: int = 2**16) -> int:
    """Bytes up to the last line end of an open file, and with it: 4 where it holds `one`, a line end, and `tw`."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    while end > 0:
        start = max(0, end - block)
        os.lseek(descriptor, start, os.SEEK_SET)
        last = os.read(descriptor, end - start).rfind(b"\n")
        if last >= 0:
            return start + last + 1
        end = start
    return 0


@contextmanager
def _replaced(path: str | Path) -> Iterator[Path]:
    """Yields the name of a new file that takes the place of `path` if the body succeeds."""
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        yield path
        return
    with _naming(path), _workspace(path) as place:
        yield place / _NEW
        end_if_asked()
        os.replace(place / _NEW, path)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of the file system name `path`, not the temporary beside it."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, error.strerror or str(error), str(path)) from error


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        OSError: it cannot be opened, or is no regular file: a pipe in its place would be waited for, for ever.
    """
    require_file(path)
    return path.read_text(encoding="utf-8")


def require_file(path: Path) -> None:
    """Raises OSError where `path` is no regular file, or may not be read."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    with open(path, "rb"):
        pass


def require_own_folder(folder: Path, files: Collection[str], *, what: str, option: str = "--out") -> None:
    """Raises DataError where `folder` is a file, or holds anything but `files`, those of an earlier `what`.

    Args:
        option: that the folder was given as.
    """
    if folder.exists() and (not folder.is_dir() or not {path.name for path in folder.iterdir()} <= set(files)):
        raise DataError(f"{folder} holds something else than {what}; choose another {option}")
