"""From a checkpoint to a server that listens, and to its orderly end."""

import asyncio
import errno
import ipaddress
import os
import signal
import socket
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from morphmlp.errors import ConfigError, UserError
from morphmlp.files import new_folder, read_text
from morphmlp.formatting import as_json
from morphmlp.serving.app import gated, make_app
from morphmlp.serving.gate import Gate
from morphmlp.serving.limits import Limits
from morphmlp.serving.metrics import Metrics
from morphmlp.serving.service import Service
from morphmlp.system import most_open_files
from morphmlp.tasks.classification.predictor import Predictor

TOKEN_VARIABLE = "MORPHMLP_TOKEN"
LOOPBACK_NAMES = frozenset(["localhost", "127.0.0.1", "::1"])
SILENT_S = 15.0  # that a connection may be open without a request in work
MOST_CONNECTIONS = 1000
_OTHER_FILES = 128  # that are open beside the connections: uploads, pipes of the decoding processes, libraries
_TOO_MANY = as_json({"error": "too many connections are open; try again"}).encode()
_SHORTEST_TOKEN = 8


def serve(
    load: Callable[[], Predictor],
    checkpoint: str | Path,
    *,
    host: str,
    port: int,
    token: str | None,
    workers: int,
    limits: Limits,
    say: Callable[[str], None],
) -> None:
    """Serves until SIGTERM or Ctrl-C; the port is taken before the checkpoint is read.

    Raises:
        UserError: the address is taken or is none of this machine, or the checkpoint cannot be used.
    """
    with (
        closing(listening(host, port)) as listener,
        new_folder(Path(tempfile.gettempdir(), "morphmlp-serve")) as folder,
    ):
        metrics = Metrics()
        service = Service(load(), checkpoint, workers=workers, limits=limits, metrics=metrics)
        hosts = LOOPBACK_NAMES | {host.lower()} if token is None and is_loopback(host) else None
        gate = gated(make_app(service, folder), limits=limits, metrics=metrics, token=token, hosts=hosts)
        server = Server(gate, service)
        say(f"{checkpoint} at {address_of(listener)} (Ctrl-C or SIGTERM ends it)")
        asyncio.run(server.serve(sockets=[listener]))


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UserError: the address is taken, may not be used, or is none of this machine.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port is {port}; give 0 to 65535, where 0 is any that is free")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except socket.gaierror:
        raise UserError(f"--host {host} is no name or address of this machine; use 127.0.0.1") from None
    except OSError as error:
        raise UserError(_why_not_listening(error, host, port)) from None


def _why_not_listening(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; end what uses it, or choose another --port"
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this user; choose a --port from 1024 on"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is no address of this machine; use 127.0.0.1, or 0.0.0.0 for all of its addresses"
    return f"cannot listen at port {port} of {host} ({error.strerror or error})"


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def chosen_token(token: str | None, token_file: str | None) -> str | None:
    """The token that is given, or else in a file, or else in the environment; None where there is none.

    Raises:
        ConfigError: two are given, or it cannot be sent in a header, or is so short that it could be guessed.
        OSError: the file cannot be read.
    """
    if token is not None and token_file is not None:
        raise ConfigError("--token and --token_file are both given; give one of them")
    if token_file is not None:
        token = read_text(Path(token_file)).strip()
    elif token is None:
        token = os.environ.get(TOKEN_VARIABLE)
    if token is None:
        return None
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ConfigError("the token holds characters that no header can hold; use letters and digits")
    if len(token) < _SHORTEST_TOKEN:
        raise ConfigError(
            f"the token has {len(token)} characters, so it could be guessed; give {_SHORTEST_TOKEN} or more"
        )
    return token


def require_protected(host: str, token: str | None, *, allow_anyone: bool) -> None:
    """Raises ConfigError where other machines could use the server, and nothing keeps them from it."""
    if token is None and not allow_anyone and not is_loopback(host):
        raise ConfigError(
            f"--host {host} lets other machines in, and there is no token: set {TOKEN_VARIABLE}, or give --token_file "
            "or --allow_anyone"
        )


def most_connections() -> int:
    """How many may be open at a time, so that the process never runs out of files that it may open.

    As many again may be accepted before the first of them is turned away: with 1024 files, (1024 - 128) / 2 = 448.
    """
    return max(16, min(MOST_CONNECTIONS, (most_open_files() - _OTHER_FILES) // 2))


class Server(uvicorn.Server):
    """Ends in order: on a signal it takes no new work, answers what it has, and then stops listening."""

    def __init__(self, gate: Gate, service: Service):
        config: dict[str, Any] = {"http": _Protocol, "ws": "none", "lifespan": "off", "log_config": None}
        super().__init__(
            uvicorn.Config(
                gate,
                **config,
                backlog=most_connections(),  # accepted at one time; `_Protocol` lets as many be open
                server_header=False,
                access_log=False,
                timeout_graceful_shutdown=2,
            )
        )
        self._gate, self._service = gate, service
        self._draining: asyncio.Task | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self._service.start()
            await super().serve(sockets)
        finally:
            await self._service.stop()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begins to drain; a second signal ends it at once. Ctrl-C is raised again in the end, SIGTERM is no error."""
        if sig == signal.SIGINT:
            self._captured_signals.append(sig)
        if self._gate.is_draining:
            self.should_exit = self.force_exit = True
            return
        self.drain()

    def drain(self) -> None:
        """Begins the end; a second call changes nothing, also where the first one has ended the loop already."""
        if self._gate.is_draining:
            return
        self._gate.is_draining = True
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._begin_draining)

    def _begin_draining(self) -> None:
        self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        end_s = asyncio.get_running_loop().time() + self._service.limits.drain_s
        while self._gate.num_in_work and asyncio.get_running_loop().time() < end_s:
            await asyncio.sleep(0.05)
        await self._gate.cut()
        self.should_exit = True


class _Protocol(H11Protocol):
    """Turns connections away that are too many, and closes those on which no request is in work for too long.

    Such as one whose head comes byte by byte.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Head and body of an answer are written one after the other: without this the system holds the body back until
        # the client has acknowledged the head, which takes it 40 ms. asyncio sets it on sockets of its own alone.
        with suppress(OSError):  # of a client that has gone already
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > self.config.backlog:
            head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
            transport.write(f"{head}Content-Length: {len(_TOO_MANY)}\r\nConnection: close\r\n\r\n".encode() + _TOO_MANY)
            transport.close()
            return
        self._silent_since_s = self.loop.time()
        self._watch()

    def on_response_complete(self) -> None:
        self._silent_since_s = self.loop.time()  # before the next request, which may have come already
        super().on_response_complete()

    def _watch(self) -> None:
        """Looks now and then: a look between two requests is no silence, so that answers are noted when they end."""
        if self.transport.is_closing():
            return
        is_in_work = self.cycle is not None and not self.cycle.response_complete
        if not is_in_work and self.loop.time() - self._silent_since_s > SILENT_S:
            self.transport.abort()
            return
        self.loop.call_later(SILENT_S / 4, self._watch)
