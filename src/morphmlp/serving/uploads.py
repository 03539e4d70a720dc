"""The files of a request: they go to the disk as they come, under names of our own, and go when it is answered."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from morphmlp.data.media.sources import SUFFIXES
from morphmlp.files import DISK_FULL
from morphmlp.formatting import one_line
from morphmlp.serving.limits import MEGABYTE, Limits, Refusal

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

LONGEST_NAME = 200  # characters that are shown
_KNOWN_SUFFIXES = SUFFIXES["video"] | SUFFIXES["image"]


@dataclass(frozen=True)
class Upload:
    """A file of a request: as the client named it, and where it is."""

    name: str
    path: Path


class Body(Protocol):
    """What is needed of a request."""

    @property
    def headers(self) -> Mapping[str, str]: ...
    def stream(self) -> AsyncIterator[bytes]: ...


@asynccontextmanager
async def received(request: Body, root: Path, *, limits: Limits, name: str = "upload") -> AsyncIterator[list[Upload]]:
    """The files of a request, one or more, in a folder of their own, which is removed in the end.

    Args:
        root: a private folder.
        name: of a body that is the file itself.

    Raises:
        Refusal: there is none, they are too many or too large, they come too slowly, or the disk is full.
    """
    folder = Path(tempfile.mkdtemp(dir=root))
    try:
        yield await _receive(request, folder, limits, name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _receive(request: Body, folder: Path, limits: Limits, name: str) -> list[Upload]:
    most = int(limits.upload_mb * MEGABYTE)
    too_large = Refusal(413, f"the request is larger than the {limits.upload_mb:g} MB that are taken")
    if _stated_length(request) > most:
        raise too_large
    writer = _writer_of(request, folder, limits, name)
    num_bytes = 0
    try:
        async with asyncio.timeout(limits.upload_s):
            async for part in request.stream():
                if (num_bytes := num_bytes + len(part)) > most:
                    raise too_large
                if part:
                    writer.write(part)
        return writer.finish()
    except TimeoutError:
        raise Refusal(408, f"the request did not arrive within {limits.upload_s:g} s") from None
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise Refusal(507, "there is no room on the server's disk; try again later") from None
    finally:
        writer.close()


def _stated_length(request: Body) -> int:
    stated = request.headers.get("content-length", "")
    return int(stated) if stated.isdecimal() else 0


def _writer_of(request: Body, folder: Path, limits: Limits, name: str) -> "_Writer":
    from python_multipart.multipart import parse_options_header

    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"multipart/form-data":
        if not options.get(b"boundary"):
            raise Refusal(422, "the form has no boundary: its Content-Type header is not complete")
        return _Form(folder, limits, options[b"boundary"])
    return _Whole(folder, limits, name)


class _Writer:
    """Writes files one after another; the client's names are text for people, and no part of a path."""

    def __init__(self, folder: Path, limits: Limits):
        self._folder, self._limits = folder, limits
        self._uploads: list[Upload] = []
        self._file: IO[bytes] | None = None

    def write(self, data: bytes) -> None:
        raise NotImplementedError

    def finish(self) -> list[Upload]:
        """The files, which are complete.

        Raises:
            Refusal: there is none.
        """
        self.close()
        if not self._uploads:
            raise Refusal(422, "the request holds no file; send one as a form, or as the body")
        return self._uploads

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self, name: str) -> IO[bytes]:
        if len(self._uploads) >= self._limits.files:
            raise Refusal(413, f"the request holds more than the {self._limits.files} files that are taken")
        suffix = os.path.splitext(name)[1].lower()
        path = self._folder / f"{len(self._uploads)}{suffix if suffix in _KNOWN_SUFFIXES else ''}"
        self._uploads.append(Upload(one_line(name)[:LONGEST_NAME] or "upload", path))
        self._file = open(path, "xb")  # noqa: SIM115 (closed in `close`)
        return self._file


class _Whole(_Writer):
    """A body that is the file itself."""

    def __init__(self, folder: Path, limits: Limits, name: str):
        super().__init__(folder, limits)
        self._name = name

    def write(self, data: bytes) -> None:
        (self._file or self._begin(self._name)).write(data)


class _Form(_Writer):
    """A body of type multipart/form-data (RFC 7578): each part is a file."""

    def __init__(self, folder: Path, limits: Limits, boundary: bytes):
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser

        super().__init__(folder, limits)
        self._error = FormParserError
        self._is_complete = False
        self._header, self._value = b"", b""
        self._disposition = b""
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self.close,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError:
            raise Refusal(422, "the form's boundary is too long") from None

    def write(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except self._error as error:
            raise Refusal(422, f"the form cannot be read ({one_line(error)})") from None

    def finish(self) -> list[Upload]:
        if not self._is_complete:
            raise Refusal(422, "the form is cut off: its last boundary is missing")
        return super().finish()

    def _on_part_begin(self) -> None:
        self._disposition = self._header = self._value = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _on_headers_finished(self) -> None:
        from python_multipart.multipart import parse_options_header

        options = parse_options_header(self._disposition)[1]
        if b"filename" not in options and b"filename*=" in self._disposition.lower():
            raise Refusal(422, "the form names its file by filename*=, which forms may not (RFC 7578); use filename=")
        if b"filename" not in options:
            field = one_line(options.get(b"name", b"").decode("utf-8", "replace"))[:LONGEST_NAME]
            raise Refusal(422, f"the form's field {field!r} is no file; options belong into the address, as ?top=3")
        name = options[b"filename"].decode("utf-8", "replace")
        self._begin(name.replace("\\", "/").rpartition("/")[2])

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None
        self._file.write(data[start:end])

    def _on_end(self) -> None:
        self._is_complete = True
