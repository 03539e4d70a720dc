"""Looks at every file of a data set before a training does: what is broken, what is odd, and lists of what is good.

A check of a large set takes hours, so what is found out about each file is kept in a journal in the folder of the
results: a check that was stopped goes on, and a second one looks only at what has changed or was broken.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from morphmlp.analysis.data_check.copies import extractor_for_copies, with_copies
from morphmlp.analysis.data_check.examine import Depth, Facts, Job, examine
from morphmlp.analysis.data_check.inventory import take_inventory
from morphmlp.analysis.data_check.journal import Journal, stamp_of
from morphmlp.analysis.data_check.report import CheckedFile, CheckReport, summarise
from morphmlp.analysis.data_check.results import RESULT_FILES, write_results
from morphmlp.analysis.data_check.workers import examine_all
from morphmlp.config import SplitConfig
from morphmlp.config.base import Config
from morphmlp.data.media.limits import most_damage
from morphmlp.data.media.remote import remote_file
from morphmlp.data.media.sources import num_bytes
from morphmlp.errors import ConfigError
from morphmlp.files import require_own_folder
from morphmlp.tasks.classification.copies import COPIES_ABOVE

JOURNAL = "journal.jsonl"
OUTPUT_FILES = (*RESULT_FILES, JOURNAL)
TIMEOUT_S = 60.0


def check_data(
    root: str | Path,
    out: str | Path | None = None,
    *,
    frames: int = 16,
    all_frames: bool = False,
    workers: int | None = None,
    timeout_s: float = TIMEOUT_S,
    fresh: bool = False,
    split: SplitConfig | None = None,
    copies: str | Path | None = None,
    copies_above: float = COPIES_ABOVE,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **readings: Config,
) -> CheckReport:
    """Decodes every file of a data set in worker processes, and writes report, table of files and clean lists.

    Args:
        root: any layout that a training takes, or a folder of loose videos or images.
        out: folder for the results, `root`-check by default. If an earlier check is there, this one goes on with it.
        frames: of a clip: one frame of each of as many segments is decoded, and shorter videos are named.
        all_frames: every frame is decoded.
        workers: processes, one a core by default. A script that calls this needs `if __name__ == "__main__":`.
        timeout_s: seconds after which a file is given up.
        fresh: forget an earlier check in `out`.
        split: how the set is split, as in training.
        copies: a checkpoint by which near copies in other splits or with other labels are found; see `copies`.
        copies_above: how alike those are, 0 to 1.
        progress: called with the number of files done and of all files.
        readings: how the set is read, as in training: `lists=ListConfig(...)`, or what another task reads by.

    Raises:
        DataError: `root` holds no videos or images, its lists cannot be read, or `out` holds something else.
        ConfigError: `out` lies in `root`.
        CheckpointError: `copies` is no checkpoint of a classifier.

    >>> report = check_data("my_videos")
    >>> len(report.files), len(report.broken)
    (1500, 2)
    """
    folder = results_folder(root, out)
    inventory = take_inventory(root, split=split, readings=readings)
    extractor = None if copies is None else extractor_for_copies(copies, inventory)  # a mistake is told at once
    depth = Depth(frames, all_frames, inventory.count_annotation, most_damage())
    workers = workers or os.cpu_count() or 1
    folder.mkdir(parents=True, exist_ok=True)
    if fresh:
        (folder / JOURNAL).unlink(missing_ok=True)
    with Journal(folder / JOURNAL, depth) as journal:
        jobs = [file.job for file in inventory.files]
        facts, taken_over = _facts(jobs, journal, depth, workers=workers, timeout_s=timeout_s, progress=progress)
    files = [
        CheckedFile(file, known, num_bytes(file.job.path))
        for file, known in zip(inventory.files, facts, strict=True)
        if known is not None
    ]
    report = summarise(inventory, files, frames=frames, taken_over=taken_over)
    if extractor is not None:
        report = with_copies(report, extractor, above=copies_above, workers=workers)
    return write_results(report, inventory, folder)


def _facts(
    jobs: Sequence[Job],
    journal: Journal,
    depth: Depth,
    *,
    workers: int,
    timeout_s: float,
    progress: Callable[[int, int], None],
) -> tuple[list[Facts | None], int]:
    """What is known of each file, and of how many it was known before; what was not is found out, and kept."""
    stamps = [stamp_of(job) for job in jobs]
    facts = [journal.known(job, stamp) for job, stamp in zip(jobs, stamps, strict=True)]
    todo = [i for i, known in enumerate(facts) if known is None]
    taken_over = len(jobs) - len(todo)
    progress(taken_over, len(jobs))
    found = examine_all([jobs[i] for i in todo], partial(examine, depth=depth), workers=workers, timeout_s=timeout_s)
    for done, (number, result) in enumerate(found, start=taken_over + 1):
        i = todo[number]
        facts[i] = result
        journal.add(jobs[i], stamps[i], result)
        progress(done, len(jobs))
    return facts, taken_over


def results_folder(root: str | Path, out: str | Path | None) -> Path:
    """Where the results go: `out`, or a folder beside `root`.

    Raises:
        ConfigError: it lies in `root`.
        DataError: it holds something else.
    """
    remote = remote_file(root)
    real_root = os.path.realpath(root if remote is None else Path(os.fspath(remote)).stem)
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
