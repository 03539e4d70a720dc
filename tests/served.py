"""A server in a thread of this process, on a port of its own, with its client."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from morphmlp.serving.app import gated, make_app
from morphmlp.serving.limits import Limits
from morphmlp.serving.metrics import Metrics
from morphmlp.serving.server import Server, address_of, listening
from morphmlp.serving.service import Service
from morphmlp.tasks.classification.predictor import Predictor


@dataclass(frozen=True)
class Running:
    """A server that runs, and what a test may ask or do."""

    client: httpx.Client
    address: str
    server: Server
    service: Service
    folder: Path
    predictor: Predictor

    def post(self, path: str, *files: Path, **options: Any) -> httpx.Response:
        form = [("file", (file.name, file.read_bytes())) for file in files]
        return self.client.post(path, files=form, params=options)


@contextmanager
def running(
    checkpoint: str | Path,
    folder: Path,
    *,
    workers: int = 1,
    token: str | None = None,
    hosts: frozenset[str] | None = None,
    engine: str = "auto",
    **limits: Any,
) -> Iterator[Running]:
    folder.mkdir()
    metrics, chosen = Metrics(), Limits(**limits)
    predictor = Predictor(checkpoint, device="cpu", engine=engine)
    service = Service(predictor, checkpoint, workers=workers, limits=chosen, metrics=metrics)
    gate = gated(make_app(service, folder), limits=chosen, metrics=metrics, token=token, hosts=hosts)
    server = Server(gate, service)
    with listening("127.0.0.1", 0) as listener:
        address = address_of(listener)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            with httpx.Client(base_url=address, timeout=120) as client:
                client.get("/ready").raise_for_status()
                yield Running(client, address, server, service, folder, predictor)
        finally:
            server.drain()
            thread.join(60)
            assert not thread.is_alive()
