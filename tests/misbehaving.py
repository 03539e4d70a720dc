"""What worker processes run in tests of their end; a module of its own, as each new process imports it."""

import os
import signal
import time
from pathlib import Path

from morphmlp.analysis.data_check.examine import Facts, Job


def look(job: Job, folder: Path) -> Facts:
    """Does what the name of the file says; `folder` keeps what one process is to know of another."""
    name = Path(job.path).name
    if name == "kills":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "exits":
        os._exit(3)
    if name == "dies once" and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "hangs":
        (folder / "pid").write_text(f"{os.getpid()}\n")
        time.sleep(600)
    if name == "server":
        server = Path(f"/proc/{os.getppid()}/maps")  # which this process was forked from
        return Facts(codec="decodes" if "libavcodec" in server.read_text() else "bare")
    return Facts(codec=name)
