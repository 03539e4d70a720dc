"""A large data set of rendered motions, in class folders: many processes write it, and a stopped one goes on."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from morphmlp.demo.motions.render import MOTIONS, render_motion
from morphmlp.demo.synthetic import SPLITS, encode
from morphmlp.errors import DataError
from morphmlp.files import replace_json
from morphmlp.system import fresh_processes

MANIFEST = "motions.json"
TRAIN_PER_MOTION, VAL_PER_MOTION = 160, 8
MOST_PER_MOTION = 10_000  # four digits in the file names

_MANIFEST_VERSION = 1  # raise it when the rendering changes: older sets are then refused instead of completed
_UNFINISHED = ".unfinished"  # the folder, in the set, of clips that are being written


class _Clip(NamedTuple):
    """One of a set: clip 12 of motion "left" in the validation part is `val/left/0012.mp4`."""

    split: str
    motion: str
    number: int

    def path(self, root: Path) -> Path:
        return root / self.split / self.motion / f"{self.number:04d}.mp4"

    def generator(self, seed: int) -> np.random.Generator:
        """That of no other clip; a clip stays the same when a set has more clips or fewer motions."""
        return np.random.default_rng([SPLITS.index(self.split), MOTIONS.index(self.motion), self.number, seed])


def write_motions(
    root: str | Path,
    *,
    train: int = TRAIN_PER_MOTION,
    val: int = VAL_PER_MOTION,
    motions: Sequence[str] = MOTIONS,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Writes `root/train/<motion>/0000.mp4` ... and `root/val/...`, and returns `root`.

    The same arguments give the same files. Clips of an earlier call with the same arguments stay, so that a stopped one
    goes on where it was.

    Args:
        train, val: clips a motion.
        workers: processes, one a core by default; 0 or 1: this one does. With more, a script must call this below
            `if __name__ == "__main__":`, as with all processes.
        progress: is told how many clips are done, and of how many.

    Raises:
        DataError: `root` holds something else, a motion is unknown, or a number is out of range.

    >>> write_motions("motions", train=2, val=1, motions=["left", "right"])
    PosixPath('motions')
    """
    root = Path(root)
    _require(train=train, val=val, motions=motions, seed=seed)
    manifest = {"made_by": "morphmlp", "version": _MANIFEST_VERSION, "seed": seed, "train": train, "val": val}
    _begin(root, manifest | {"motions": list(motions)})
    counts = {"train": train, "val": val}
    clips = [_Clip(split, name, number) for split in SPLITS for name in motions for number in range(counts[split])]
    missing = [clip for clip in clips if not _is_whole(clip.path(root))]
    workers = min(os.cpu_count() or 1 if workers is None else workers, len(missing))
    with _mapping(workers) as mapped:
        jobs = (root, seed)
        for done, _ in enumerate(mapped(_write, [(*jobs, clip) for clip in missing])):
            progress(len(clips) - len(missing) + done + 1, len(clips))
    shutil.rmtree(root / _UNFINISHED, ignore_errors=True)
    return root


def _require(*, train: int, val: int, motions: Sequence[str], seed: int) -> None:
    if unknown := [name for name in motions if name not in MOTIONS]:
        raise DataError(f"motion {unknown[0]!r} is unknown; known: {', '.join(MOTIONS)}")
    if seed < 0 or not all(1 <= count <= MOST_PER_MOTION for count in (train, val)):
        raise DataError(
            f"seed={seed}, train={train}, val={val}: give a seed of 0 or more, 1 to {MOST_PER_MOTION:,} clips a motion"
        )


def _begin(root: Path, manifest: dict) -> None:
    """Notes what set the folder is for; refuses one that is for another, or for something else."""
    advice = "give another folder, or delete this one"
    if root.exists() and not root.is_dir():
        raise DataError(f"{root} is a file; {advice}")
    (root / _UNFINISHED).mkdir(parents=True, exist_ok=True)
    if {path.name for path in root.iterdir()} == {_UNFINISHED}:
        replace_json(root / MANIFEST, manifest)
    try:
        found = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(f"{root} holds something else than rendered motions; {advice}") from None
    if found != manifest:
        changed = [name for name in manifest if not isinstance(found, dict) or found.get(name) != manifest[name]]
        raise DataError(f"{root} holds motions that were rendered with another {' and '.join(changed)}; {advice}")


def _is_whole(path: Path) -> bool:
    """Whether a clip is there: its name is given to it at the end. A power failure can leave an empty file."""
    return path.is_file() and path.stat().st_size > 0


def _write(job: tuple[Path, int, _Clip]) -> None:
    """Writes a clip under a temporary name, then renames it."""
    root, seed, clip = job
    path, temporary = clip.path(root), root / _UNFINISHED / ("-".join(map(str, clip)) + ".mp4")
    # Every frame is coded on its own: predicted ones would tell the direction in which a clip was written.
    encode(temporary, render_motion(clip.motion, clip.generator(seed)), key_frame_every=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(temporary, path)


@contextmanager
def _mapping(workers: int) -> Iterator[Callable[..., Iterable[None]]]:
    """`map`, by so many processes where they are two or more; what has not begun is left when the body fails."""
    if workers < 2:
        yield map
        return
    processes = ProcessPoolExecutor(workers, mp_context=fresh_processes(__name__), initializer=_leave_signals)
    try:
        yield lambda work, jobs: processes.map(work, jobs, chunksize=8)
    finally:
        processes.shutdown(cancel_futures=True)


def _leave_signals() -> None:
    """Ctrl-C goes to all processes of a terminal; the one that started this one ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
