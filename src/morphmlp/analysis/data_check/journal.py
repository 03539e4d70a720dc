"""What is known of each file, kept from check to check."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import IO, Self

from morphmlp.analysis.data_check.examine import Depth, Facts, Job
from morphmlp.data.media.sources import Source, TarMember

Stamp = list[int]  # of each file that a job reads, see `_state`


def _stamp(job: Job) -> Stamp | None:
    """What changes when a file does; None where there is none. A member of a shard goes with its shard."""
    path = job.path.shard if isinstance(job.path, TarMember) else job.path
    try:
        return [number for file in (path, job.mask) if file is not None for number in _state(file)]
    except (OSError, ValueError):
        return None


def _state(path: Source) -> tuple[int, int]:
    """Size and time of change of a file; of a folder of frames, those of all that lies in it, as a digest.

    A folder itself does not change when a file in it is written over.
    """
    if not os.path.isdir(path):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    with os.scandir(path) as entries:
        states = sorted(
            (entry.name, status.st_size, status.st_mtime_ns) for entry in entries if (status := entry.stat())
        )
    digest = hashlib.blake2b(repr(states).encode(), digest_size=8).digest()
    return sum(size for _, size, _ in states), int.from_bytes(digest)


class Journal:
    """What is known of each file, one JSON object a line, appended as it is found out.

    A line is valid as long as the file keeps its size and time of change, and for one depth of looking. Broken files
    are not taken over: what was wrong with them, such as missing rights, need not show in the file.
    """

    def __init__(self, path: Path, depth: Depth):
        self.path = path
        self.depth = repr(depth)
        self.lines: dict[str, tuple[Stamp, Facts]] = {}

    def __enter__(self) -> Self:
        if self.path.exists():
            self._read()
        self.file: IO[str] = open(self.path, "a", encoding="ascii")
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def _read(self) -> None:
        content = self.path.read_bytes()
        end = content.rfind(b"\n") + 1
        if end < len(content):  # half a line, of a check that was killed
            os.truncate(self.path, end)
        for line in content[:end].splitlines():
            try:
                entry = json.loads(line)
                facts = Facts(**entry["facts"])
                if entry["depth"] != self.depth:
                    continue
                self.lines.pop(entry["path"], None)
                if facts.reason is None:
                    self.lines[entry["path"]] = entry["stamp"], facts
            except (ValueError, TypeError, KeyError):
                continue  # damaged, or of another version: the file is looked at again

    def known(self, job: Job, stamp: Stamp | None) -> Facts | None:
        """What an earlier check found out about a file that has not changed since."""
        then, facts = self.lines.get(_key(job), (None, None))
        return facts if stamp is not None and stamp == then else None

    def add(self, job: Job, stamp: Stamp | None, facts: Facts) -> None:
        """Writes a line; it is with the system when this returns."""
        entry = {"path": _key(job), "stamp": stamp, "depth": self.depth, "facts": asdict(facts)}
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()


def _key(job: Job) -> str:
    """Names a file wherever the check is started from; two videos can be parts of one folder of frames."""
    path = os.path.abspath(job.path)
    return path if isinstance(job.path, Path) else f"{path} {job.path!r}"
