"""What decoding processes do in tests of their end; a module of its own, as each new process imports it."""

import os
import signal
import time
from pathlib import Path

import numpy as np


def process_id() -> int:
    return os.getpid()


def be_sent(number: int) -> None:
    os.kill(os.getpid(), number)


def be_killed_once(mark: Path) -> str:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def allocate(megabytes: int) -> int:
    return np.ones(megabytes * 1_000_000, np.uint8).size


def write_half_a_message() -> bytes:
    """Dies while its answer, larger than a pipe holds, is being sent."""
    import threading

    threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
    return bytes(500_000_000)
