"""Long recordings of the miniature world: several actions one after the other, with pauses in which nothing happens.

All actions of a recording are before one backdrop, under one camera that never rests, and its distractors are there all
the time: only what acts comes and goes. What happens when is known to the frame.
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from morphmlp.demo.scenes import CLASSES, draw_actors, render_scene
from morphmlp.demo.synthetic import FPS, FRAME_SIZE, LONGEST, SHORTEST, SPLITS, encode
from morphmlp.errors import DataError
from morphmlp.files import replaced_folder, require_own_folder

PAUSE = (8, 36)  # frames between two actions, before the first and after the last: the fewest and the most
MOST_ACTIONS = 100  # a recording is in memory while it is rendered, some 5 minutes
_KEY_FRAME_EVERY = 24  # frames, 2 s: as players expect of long files


@dataclass(frozen=True)
class Action:
    """What happens from `start_s` on and before `end_s`."""

    start_s: float
    end_s: float
    label: str


def render_recording(
    seed: int, *, num_actions: int = 6, size: tuple[int, int] = FRAME_SIZE
) -> tuple[np.ndarray, list[Action]]:
    """A recording, uint8 RGB [T, H, W, 3] at 12 frames a second, and its actions in order of time.

    The same seed gives the same recording.

    Raises:
        DataError: a number is out of range.

    >>> frames, actions = render_recording(0, num_actions=2)
    >>> len(frames) / FPS, [(round(action.start_s, 2), round(action.end_s, 2)) for action in actions]
    (8.666666666666666, [(2.5, 4.33), (5.75, 7.67)])
    """
    if seed < 0 or not 1 <= num_actions <= MOST_ACTIONS or min(size) < 16:
        raise DataError(
            f"seed={seed}, num_actions={num_actions}, size={size}: give a seed of 0 or more, 1 to {MOST_ACTIONS} "
            "actions, 16 pixels a side or more"
        )
    generator = np.random.default_rng([len(CLASSES), seed])  # the clips have the numbers below
    actors, actions, now = [], [], _pause(generator)
    for _ in range(num_actions):
        name, length = str(generator.choice(CLASSES)), int(generator.integers(SHORTEST, LONGEST + 1))
        things = draw_actors(name, generator, num_frames=length)
        if CLASSES.index(name) % 2:
            things = [thing.backwards() for thing in things]
        actors += [replace(thing, first=now) for thing in things]
        actions.append(Action(now / FPS, (now + length) / FPS, name))
        now += length + _pause(generator)
    num_clips = 2 * now / (SHORTEST + LONGEST)
    return render_scene(actors, generator, num_frames=now, size=size, num_clips=num_clips), actions


def _pause(generator: np.random.Generator) -> int:
    return int(generator.integers(*PAUSE, endpoint=True))


def write_recordings(root: str | Path, *, train: int = 8, val: int = 4, num_actions: int = 6, seed: int = 0) -> Path:
    """Writes `root/train/recording_0001.mp4` ..., the list `root/train.csv` of its stretches, and the same of `val`.

    The lists have the columns video, label, start and end, in seconds. Returns `root`, which is replaced where it holds
    an earlier set.

    Raises:
        DataError: a number is out of range, or `root` holds something else.
    """
    root, counts = Path(root), {"train": train, "val": val}
    if not all(1 <= count <= 9999 for count in counts.values()):
        raise DataError(f"recordings {counts}: give 1 to 9999 of each")
    require_own_folder(root, {*SPLITS, *(f"{split}.csv" for split in SPLITS)}, what="rendered recordings")
    with replaced_folder(root) as folder:
        for split, count in counts.items():
            (folder / split).mkdir()
            with open(folder / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(["video", "label", "start", "end"])
                for number in range(1, count + 1):
                    rows.writerows(_write_one(folder, split, number, num_actions=num_actions, seed=seed))
    return root


def _write_one(folder: Path, split: str, number: int, *, num_actions: int, seed: int) -> list[list[object]]:
    """Writes a recording; returns its rows of the list."""
    frames, actions = render_recording(_recording_seed(split, number, seed=seed), num_actions=num_actions)
    name = f"{split}/recording_{number:04d}.mp4"
    encode(folder / name, frames, key_frame_every=_KEY_FRAME_EVERY)
    return [[name, action.label, f"{action.start_s:.6f}", f"{action.end_s:.6f}"] for action in actions]


def _recording_seed(split: str, number: int, *, seed: int) -> int:
    """Numbers the recordings of all sets; seed 1, val (1), number 7: (1 x 2 + 1) x 10,000 + 7 = 30007."""
    return (seed * len(SPLITS) + SPLITS.index(split)) * 10_000 + number
