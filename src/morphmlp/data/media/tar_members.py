"""A video or an image inside a tar shard, read where it lies."""

import os
from dataclasses import dataclass
from pathlib import Path

from morphmlp.data.media.remote import RemoteFile, on_disk
from morphmlp.errors import MediaError


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file inside an uncompressed tar archive: `size` bytes from `offset` on. See `sources` for what a source says.

    Its path is that of the shard with the member's name below it, as if the shard were a folder.
    """

    shard: Path | RemoteFile
    name: str
    offset: int
    size: int

    part = ""  # the name, which is in the path, says it all
    start = span = None

    def __fspath__(self) -> str:
        return os.path.join(self.shard, self.name)

    def __str__(self) -> str:
        return os.path.join(self.shard, self.name)

    @property
    def location(self) -> Path:
        return Path(on_disk(self.shard))

    @property
    def num_bytes(self) -> int:
        return self.size

    def why_not_listed(self) -> str:
        return f"{self.shard} is a tar shard, whose members have no path of their own"

    def address(self) -> str:
        """What FFmpeg is to open: a part of the shard.

        Raises:
            MediaError: as for `require_whole`.
        """
        self.require_whole()
        return f"subfile,,start,{self.offset},end,{self.offset + self.size},,:{os.path.abspath(on_disk(self.shard))}"

    def read(self) -> bytes:
        """All bytes of the member.

        Raises:
            MediaError: the shard is missing, too short, or cannot be read.
        """
        self.require_whole()
        try:
            with open(on_disk(self.shard), "rb") as file:
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            raise MediaError(self, f"{self.shard} cannot be read ({error.strerror})") from None

    def head(self, size: int) -> bytes:
        """The first bytes of the member; none where they cannot be read."""
        try:
            with open(on_disk(self.shard), "rb") as file:
                file.seek(self.offset)
                return file.read(min(size, self.size))
        except (OSError, MediaError):
            return b""

    def require_whole(self) -> None:
        """Raises MediaError where the shard is missing, or has become too short to hold the member."""
        try:
            available = os.stat(on_disk(self.shard)).st_size
        except OSError as error:
            raise MediaError(self, f"{self.shard} cannot be opened ({error.strerror})") from None
        end = self.offset + self.size
        if end > available:
            raise MediaError(self, f"{self.shard} is cut off: {available} bytes, but the member ends at byte {end}")
        if self.size == 0:
            raise MediaError(self, "is empty (0 bytes)")
