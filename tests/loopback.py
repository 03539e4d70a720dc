"""Servers on the loopback address, in a thread of this process: what those of the tests have in common."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from urllib.parse import unquote, urlsplit

READER_MAY_GO = suppress(BrokenPipeError, ConnectionResetError)


@contextmanager
def running(server: BaseServer) -> Iterator[int]:
    """Yields the port of a server that runs until the end."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def http(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Yields the address of a server, `http://127.0.0.1:<port>`, whose requests a handler answers."""
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as port:
        yield f"http://127.0.0.1:{port}"


class Handler(BaseHTTPRequestHandler):
    """Says nothing on the terminal, and lets readers go when they like."""

    @property
    def asked(self) -> str:
        """The path of the request, without its query."""
        return unquote(urlsplit(self.path).path)

    def answer(self, status: int, headers: Mapping[str, str], parts: Iterable[bytes] = ()) -> None:
        """Sends the head, and after it the body unless the head alone was asked for."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with READER_MAY_GO:
                for part in parts:
                    self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass
