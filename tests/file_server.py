"""A server on the loopback address for the files of a folder, which misbehaves where a test says so."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

import loopback


@dataclass
class Files:
    """What a server has and was asked.

    Attributes:
        statuses: that files are answered with, by their names.
        break_after: bytes of a body after which the connection is closed.
        endless: files that go on until the reader leaves, and whose length is not said.
        changing: files that have another content at each request.
        tagged: whether answers say an ETag.
    """

    folder: Path
    address: str = ""
    asked: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    break_after: int | None = None
    endless: set[str] = field(default_factory=set)
    changing: set[str] = field(default_factory=set)
    tagged: bool = True

    def fetched(self) -> list[str]:
        return [line.removeprefix("GET ") for line in self.asked if line.startswith("GET")]


@contextmanager
def served_files(folder: Path) -> Iterator[Files]:
    files = Files(folder)

    class Handler(loopback.Handler):
        def do_GET(self) -> None:
            name = self.asked.lstrip("/")
            files.asked.append(f"{self.command} {name}")
            if name in files.endless:
                self.answer(200, {}, repeat(bytes(2**20)))
                return
            path = files.folder / name
            status = files.statuses.get(name, 200 if path.is_file() else 404)
            content = path.read_bytes() if status == 200 else b""
            if name in files.changing:
                content += str(len(files.asked)).encode()
            headers = {"Content-Length": str(len(content))}
            if files.tagged and status == 200:
                headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            self.answer(status, headers, [content[: files.break_after]])

        do_HEAD = do_GET

    with loopback.http(Handler) as files.address:
        yield files
