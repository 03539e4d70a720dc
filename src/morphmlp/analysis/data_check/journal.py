"""What is known of each file, kept from check to check."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import IO, Self

from morphmlp.analysis.data_check.examine import Depth, Facts, Job
from morphmlp.data.media.sources import state_of, unique_name

Stamp = list[int]  # two numbers for each file that a job reads, see `state_of`


def stamp_of(job: Job) -> Stamp | None:
    """What changes when a file does; None where there is none."""
    try:
        return [number for source in (job.path, job.annotation) if source is not None for number in state_of(source)]
    except (OSError, ValueError):
        return None


class Journal:
    """What is known of each file, one JSON object a line, appended as it is found out.

    A line is valid for one depth of looking, and as long as the file keeps its size and time of change. Broken files
    are looked at again: what was wrong with them, such as missing rights, may have changed without a trace in the file.
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
                known = json.loads(line)
                facts = Facts(**known["facts"])
                if known["depth"] != self.depth:
                    continue
                self.lines.pop(known["path"], None)
                if facts.reason is None:
                    self.lines[known["path"]] = known["stamp"], facts
            except (ValueError, TypeError, KeyError):
                continue  # damaged, or of another version: the file is looked at again

    def known(self, job: Job, stamp: Stamp | None) -> Facts | None:
        """What an earlier check found out about a file that has not changed since."""
        then, facts = self.lines.get(unique_name(job.path), (None, None))
        return facts if stamp is not None and stamp == then else None

    def add(self, job: Job, stamp: Stamp | None, facts: Facts) -> None:
        """Writes a line; it is with the system when this returns."""
        line = {"path": unique_name(job.path), "stamp": stamp, "depth": self.depth, "facts": asdict(facts)}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
