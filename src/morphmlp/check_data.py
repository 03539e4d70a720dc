"""Looks at every file of a data set before a training does: what is broken, what is odd, and lists of what is good.

A check of a large set takes hours, so what is found out about each file is kept in a journal in the folder of the
results: a check that was stopped goes on, and a second one looks only at what has changed or was broken.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Self

from morphmlp.check_files import Depth, Facts, Job, examine, examine_all
from morphmlp.check_inventory import take_inventory
from morphmlp.check_report import RESULT_FILES, CheckReport, Row, summarise, write_results
from morphmlp.config import ListConfig, MaskConfig, SplitConfig
from morphmlp.data.sources import Source, TarMember
from morphmlp.errors import ConfigError
from morphmlp.files import require_own_folder

JOURNAL = "journal.jsonl"
OUTPUT_FILES = (*RESULT_FILES, JOURNAL)
TIMEOUT_S = 60.0

Stamp = list[int]  # of each file that a job reads, see `_state`


def check_data(
    root: str | Path,
    out: str | Path | None = None,
    *,
    frames: int = 16,
    all_frames: bool = False,
    workers: int | None = None,
    timeout_s: float = TIMEOUT_S,
    fresh: bool = False,
    lists: ListConfig | None = None,
    split: SplitConfig | None = None,
    masks: MaskConfig | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CheckReport:
    """Decodes every file of a data set in worker processes, and writes report, table of files and clean lists.

    Args:
        root: any layout that a training takes, or a folder of loose videos or images.
        out: folder for the results, `root`-check by default; an earlier check there is gone on with.
        frames: of a clip: one frame of each of as many segments is decoded, and shorter videos are named.
        all_frames: every frame is decoded.
        workers: processes, one a core by default. A script that calls this needs `if __name__ == "__main__":`.
        timeout_s: seconds after which a file is given up.
        fresh: forget an earlier check in `out`.
        lists, split, masks: how the set is read; as in training.
        progress: called with the number of files done and of all files.

    Raises:
        DataError: `root` holds no videos or images, its lists cannot be read, or `out` holds something else.
        ConfigError: `out` lies in `root`.

    >>> report = check_data("my_videos")
    >>> len(report.rows), len(report.broken)
    (1500, 2)
    """
    folder = results_folder(root, out)
    inventory = take_inventory(root, lists=lists, split=split, masks=masks)
    depth = Depth(frames, all_frames, (inventory.masks, len(inventory.classes)) if inventory.masks else None)
    jobs = [entry.job for entry in inventory.entries]
    folder.mkdir(parents=True, exist_ok=True)
    if fresh:
        (folder / JOURNAL).unlink(missing_ok=True)
    with Journal(folder / JOURNAL, depth) as journal:
        stamps = [_stamp(job) for job in jobs]
        facts = [journal.known(job, stamp) for job, stamp in zip(jobs, stamps, strict=True)]
        todo = [i for i, known in enumerate(facts) if known is None]
        taken_over = len(jobs) - len(todo)
        progress(taken_over, len(jobs))
        found = examine_all(
            [jobs[i] for i in todo],
            partial(examine, depth=depth),
            workers=workers or os.cpu_count() or 1,
            timeout_s=timeout_s,
        )
        for done, (number, result) in enumerate(found, start=taken_over + 1):
            i = todo[number]
            facts[i] = result
            journal.add(jobs[i], stamps[i], result)
            progress(done, len(jobs))
    rows = [
        Row(entry, known, _num_bytes(entry.job, stamp, known))
        for entry, stamp, known in zip(inventory.entries, stamps, facts, strict=True)
        if known is not None
    ]
    return write_results(summarise(inventory, rows, frames=frames, taken_over=taken_over), inventory, folder)


def results_folder(root: str | Path, out: str | Path | None) -> Path:
    """Where the results go: `out`, or a folder beside `root`.

    Raises:
        ConfigError: it lies in `root`.
        DataError: it holds something else.
    """
    real_root = os.path.realpath(root)
    folder = Path(os.path.realpath(out) if out is not None else f"{real_root}-check")
    if folder.is_relative_to(real_root):
        raise ConfigError(f"{folder} lies in the data, whose files it would join; choose another --out")
    leftovers = []  # of a check that was killed while it wrote
    if folder.is_dir():
        beginnings = tuple(f".{name}-" for name in OUTPUT_FILES)
        leftovers = [path for path in folder.iterdir() if path.name.startswith(beginnings)]
    require_own_folder(folder, [*OUTPUT_FILES, *(path.name for path in leftovers)], what="a check")
    for path in leftovers:
        path.unlink()
    return folder


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


def _num_bytes(job: Job, stamp: Stamp | None, facts: Facts) -> int | None:
    if isinstance(job.path, TarMember):
        return job.path.size
    return stamp[0] if stamp and facts.codec != "frames" else None  # a video may be a part of its folder


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
