"""A file at an address, `https://`, `s3://` or `gs://`, as a source: it is fetched when somebody first reads it."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from morphmlp.data.media.remote_cache import cached_copy, known_size, state_at
from morphmlp.data.media.remote_store import RemoteError, exists, shown_address

REMOTE_SCHEMES = ("https", "http", "s3", "gs")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(?=[^/])")


@dataclass(frozen=True, slots=True, repr=False)
class RemoteFile:
    """A file at an address. See `sources` for what a source says.

    It is named without a password and without what follows `?`, which may be a signature.
    """

    address: str

    part = ""
    start = span = None

    def __fspath__(self) -> str:
        return shown_address(self.address)

    def __str__(self) -> str:
        return shown_address(self.address)

    def __repr__(self) -> str:
        """Tells apart two addresses that are shown alike."""
        shown = shown_address(self.address)
        digest = "" if shown == self.address else f", {hashlib.sha256(self.address.encode()).hexdigest()[:16]}"
        return f"RemoteFile({shown!r}{digest})"

    @property
    def location(self) -> Path:
        """The copy on this disk, fetched if there is none.

        Raises:
            MediaError: it cannot be fetched.
        """
        return cached_copy(self.address)

    @property
    def num_bytes(self) -> int | None:
        """As it was when it was last fetched; None before."""
        return known_size(self.address)

    @property
    def state(self) -> tuple[int, int]:
        """Two numbers that change when the file does; where the host tells it, without fetching the file.

        Raises:
            MediaError: the host does not answer, or there is no such file.
        """
        return state_at(self.address)

    def why_not_listed(self) -> str | None:
        return None if shown_address(self.address) == self.address else f"{self} has a password or a query in its name"


def on_disk(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """What is to be opened: of a file at an address its copy, of all else the path itself.

    Raises:
        MediaError: the file cannot be fetched.
    """
    return path.location if isinstance(path, RemoteFile) else path


def remote_file(path: str | os.PathLike[str]) -> RemoteFile | None:
    """The file that a path names, if it is an address that files are fetched from; `Path` may have joined its slashes.

    >>> remote_file(Path("s3://bucket") / "a.mp4"), remote_file("rtsp://host/1"), remote_file("a.mp4")
    (RemoteFile('s3://bucket/a.mp4'), None, None)
    """
    if isinstance(path, RemoteFile):
        return path
    scheme, _, rest = (web_address(path) or "").partition("://")
    return RemoteFile(f"{scheme.lower()}://{rest}") if scheme.lower() in REMOTE_SCHEMES else None


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file or folder on the disk, or a file at an address.

    Raises:
        RemoteError: the address cannot be asked.
    """
    remote = remote_file(path)
    return os.path.exists(path) if remote is None else exists(remote.address)


def web_address(path: str | os.PathLike[str]) -> str | None:
    """The address that a path names, with the two slashes of which `Path` leaves one; None where it names a file.

    >>> web_address("https:/host/a.mp4"), web_address("a/b.mp4")
    ('https://host/a.mp4', None)
    """
    text = path.as_posix() if isinstance(path, Path) else os.fspath(path)
    return _ADDRESS.sub(r"\1://", text, count=1) if _ADDRESS.match(text) else None


def local_path(path: str | os.PathLike[str]) -> Path:
    """A file on this disk: of one at an address its copy.

    Raises:
        MediaError: the file cannot be fetched.
    """
    return Path(on_disk(remote_file(path) or path))


def place_of(path: str | os.PathLike[str]) -> str:
    """The path of a file or folder wherever the process was started: an absolute one, or an address."""
    return web_address(path) or os.path.abspath(path)


__all__ = [
    "REMOTE_SCHEMES",
    "RemoteError",
    "RemoteFile",
    "is_there",
    "local_path",
    "on_disk",
    "place_of",
    "remote_file",
    "web_address",
]
