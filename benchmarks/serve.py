"""Load on `morphmlp serve` on this machine: rate, latency, memory, and what becomes of requests when things go wrong.

    python benchmarks/serve.py CHECKPOINT FOLDER_OF_VIDEOS [--requests 400] [--memory_requests 10000]

Server and clients share the machine, and talk over the loopback address only. A section ends after its number of
requests or `--seconds`, whichever comes first. The fault sections have to end with as many answers as requests.
"""

import argparse
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

CLIENTS = (1, 8, 64)
QUEUE = 64  # the server's default
PATIENCE_S = 120.0  # of a client
LOST = "no answer"


@dataclass
class Load:
    """What came back: seconds and status of each request, in the order of the answers."""

    seconds: list[float] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    took_s: float = 0.0

    def row(self) -> dict[str, Any]:
        good = sorted(s for s, status in zip(self.seconds, self.statuses, strict=True) if status == "200")
        shares = {f"p{percent}_ms": _percentile(good, percent) for percent in (50, 95, 99)}
        return {
            "requests": len(self.statuses),
            "answers": dict(sorted(Counter(self.statuses).items())),
            "answered_per_s": round(len(good) / self.took_s, 1),
            **shares,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("videos", type=Path, help="a folder of videos, which is searched through")
    parser.add_argument("--requests", type=int, default=400, help="of each section")
    parser.add_argument("--memory_requests", type=int, default=1000, help="of the section on memory")
    parser.add_argument("--seconds", type=float, default=60.0, help="the longest that a section takes")
    parser.add_argument("--workers", type=int, default=2, help="decoding processes")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    videos = sorted(path for path in options.videos.rglob("*") if path.suffix in (".mp4", ".webm", ".avi", ".mkv"))
    results = {"bare Predictor": bare(options.checkpoint, videos, options)}
    bodies = [video.read_bytes() for video in videos]
    with serving(options.checkpoint, workers=options.workers) as (process, port):
        results |= under_load(process, port, bodies, options)
    for section, row in results.items():
        print(section)
        for name, value in row.items():
            print(f"  {name:<20} {value}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def bare(checkpoint: Path, videos: Sequence[Path], options: argparse.Namespace) -> dict[str, Any]:
    """Videos a second of the predictor: one after another, and many with as many decoding processes."""
    from morphmlp.tasks.classification.predictor import Predictor

    predict = Predictor(checkpoint)
    predict(videos[0])
    seconds, end = [], time.monotonic() + options.seconds / 2
    for number in range(options.requests):
        began = time.monotonic()
        predict(videos[number % len(videos)])
        seconds.append(time.monotonic() - began)
        if time.monotonic() > end:
            break
    many = [videos[number % len(videos)] for number in range(len(seconds))]
    began = time.monotonic()
    list(predict.many(many, workers=options.workers))
    return {
        "one by one, per s": round(len(seconds) / sum(seconds), 1),
        "one by one, p50_ms": _percentile(sorted(seconds), 50),
        "many, per s": round(len(many) / (time.monotonic() - began), 1),
    }


def under_load(
    process: subprocess.Popen, port: int, bodies: Sequence[bytes], options: argparse.Namespace
) -> dict[str, Any]:
    def run(clients: int, requests: int, bodies: Sequence[bytes] = bodies, seconds: float = options.seconds) -> Load:
        return load(port, bodies, clients=clients, requests=requests, seconds=seconds)

    run(8, 32)  # the first ones load what the others have
    results = {f"{clients} clients": run(clients, options.requests).row() for clients in CLIENTS}
    results["four times the queue"] = run(4 * QUEUE, 4 * QUEUE * 4).row()
    damaged = [body if number % 10 else _damaged(body, seed=number) for number, body in enumerate([*bodies] * 10)]
    results["a tenth damaged"] = run(8, options.requests, damaged).row()
    with killing_decoders(process.pid) as killed:
        results["decoders killed"] = run(8, options.requests).row()
    results["decoders killed"]["killed"] = killed()
    before, began = _memory_mb(process.pid), time.monotonic()
    seconds = max(options.seconds, options.memory_requests)  # at least one a second
    row = run(8, options.memory_requests // 10, seconds=seconds).row()
    early = _memory_mb(process.pid)
    row = run(8, options.memory_requests - options.memory_requests // 10, seconds=seconds).row()
    results["memory"] = {
        "requests": row["requests"] + options.memory_requests // 10,
        "server and processes, MB": f"{before} before, {early} after a tenth, {_memory_mb(process.pid)} after all",
        "seconds": round(time.monotonic() - began, 1),
        "answers": row["answers"],
    }
    return results


@contextmanager
def serving(checkpoint: Path, *, workers: int) -> Iterator[tuple[subprocess.Popen, int]]:
    """A server and its port; it has to end with status 0."""
    command = [sys.executable, "-m", "morphmlp.cli", "serve", str(checkpoint), "--port", "0", "--workers", str(workers)]
    with subprocess.Popen([*command, "--queue", str(QUEUE)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r" at http://127\.0\.0\.1:(\d+) ", line)
        if found is None:
            sys.exit(line)
        threading.Thread(target=lambda: sys.stderr.writelines(process.stderr or []), daemon=True).start()
        try:
            yield process, int(found[1])
        finally:
            process.send_signal(signal.SIGTERM)
            print(f"the server ended with status {process.wait(60)}", file=sys.stderr)


def load(port: int, bodies: Sequence[bytes], *, clients: int, requests: int, seconds: float) -> Load:
    """Clients that each send the next body as soon as they have an answer, over a connection that they keep."""
    result, numbers, lock = Load(), count(), threading.Lock()
    began = time.monotonic()

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        while (number := next(numbers)) < requests and time.monotonic() - began < seconds:
            sent = time.monotonic()
            try:
                connection.request("POST", "/predict?top=1", bodies[number % len(bodies)])
                answer = connection.getresponse()
                answer.read()
                status = str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                status = f"{LOST} ({type(error).__name__})"
            with lock:
                result.seconds.append(time.monotonic() - sent)
                result.statuses.append(status)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.took_s = time.monotonic() - began
    return result


def _damaged(body: bytes, *, seed: int) -> bytes:
    """Cut off, or with a tenth of its bytes changed, or no video at all."""
    draw = random.Random(seed)
    if draw.random() < 0.3:
        return body[: draw.randrange(1, len(body))]
    if draw.random() < 0.3:
        return draw.randbytes(len(body))
    changed = bytearray(body)
    for _ in range(len(body) // 10):
        changed[draw.randrange(len(body))] = draw.randrange(256)
    return bytes(changed)


@contextmanager
def killing_decoders(server: int, every_s: float = 1.0) -> Iterator[Callable[[], int]]:
    """Kills a decoding process every second; what is yielded says how many were killed."""
    over, killed = threading.Event(), []

    def work() -> None:
        while not over.wait(every_s):
            if decoders := _decoders(server):
                os.kill(random.choice(decoders), signal.SIGKILL)
                killed.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: len(killed)
    finally:
        over.set()
        thread.join()


def _decoders(server: int) -> list[int]:
    """They are started by the fork server, a child of the server: its grandchildren."""
    return [grandchild for child in _children(server) for grandchild in _children(child)]


def _children(process: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{process}/task").iterdir()
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _memory_mb(server: int) -> int:
    """Memory of the server and all its processes, what they share counted once for each (Linux)."""
    processes = [server, *_children(server), *_decoders(server)]
    pages = [int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in processes]
    return round(sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6)


def _percentile(ordered: Sequence[float], percent: int) -> float | None:
    """In milliseconds, of seconds in order; the nearest rank."""
    return round(1000 * ordered[max(0, -(-percent * len(ordered) // 100) - 1)], 1) if ordered else None


if __name__ == "__main__":
    main()
