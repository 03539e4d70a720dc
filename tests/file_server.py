"""A server on the loopback address for the files of a folder, which misbehaves where a test says so."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


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

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = unquote(urlsplit(self.path).path).lstrip("/")
            files.asked.append(f"{self.command} {name}")
            path = files.folder / name
            if name in files.endless:
                self.send_response(200)
                self.end_headers()
                with suppress(BrokenPipeError, ConnectionResetError):
                    while self.command == "GET":
                        self.wfile.write(bytes(2**20))
                return
            status = files.statuses.get(name, 200 if path.is_file() else 404)
            content = path.read_bytes() if status == 200 else b""
            if name in files.changing:
                content += str(len(files.asked)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if files.tagged and status == 200:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()[:16]}"')
            self.end_headers()
            if self.command == "GET":
                with suppress(BrokenPipeError, ConnectionResetError):  # the reader has gone
                    self.wfile.write(content[: files.break_after])

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        files.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield files
        finally:
            server.shutdown()
            thread.join()
