"""A miniature world that the package renders itself, for the demo and the tests: short H.264 videos of small events.

The classes are like those of Something-Something, the paper's data set for temporal modelling: they come in pairs that
only the order of the frames tells apart. A clip of the second class of a pair is a clip of the first class, of another
scene, with its frames reversed. Camera shake, noise and distractors are reversed, too, and every frame is coded on its
own: the *set* of frames does not tell which of the two classes it is. A mirrored clip of something that moves to the
left moves to the right: do not train with horizontal flips.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from morphmlp.demo.scenes import CLASSES, draw_actors, render_scene
from morphmlp.errors import DataError
from morphmlp.files import replaced_folder

FRAME_SIZE = (80, 96)  # height, width in pixels; not square, so that cropping matters
FPS = 12
SHORTEST, LONGEST = 20, 28  # frames a clip
MANIFEST = "synthetic.json"
SPLITS = ("train", "val")

_MOST_PER_CLASS = 9999  # four digits in the file names
_MANIFEST_VERSION = 1  # raise it when the rendering changes: older sets are then refused instead of reused


def write_dataset(
    root: str | Path,
    *,
    train_per_class: int = 50,
    val_per_class: int = 16,
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Writes `root/train/<class>/<class>_0001.mp4` ... and `root/val/...`, and returns `root`.

    The same arguments give the same frames. A complete set that is already there is reused. The clips are written to
    another folder, which takes the name `root` when all are there: an interrupted run leaves no half of a set.
    `workers` is the number of threads, one a core by default; it does not change the result.

    Raises:
        DataError: `root` holds something else, or an argument is out of range.

    >>> write_dataset("demo-data", train_per_class=2, val_per_class=1)
    PosixPath('demo-data')
    """
    root = Path(root)
    counts = {"train": train_per_class, "val": val_per_class}
    if seed < 0 or not all(1 <= count <= _MOST_PER_CLASS for count in counts.values()):
        raise DataError(f"seed={seed}, clips a class {counts}: give a seed of 0 or more, 1 to {_MOST_PER_CLASS} clips")
    manifest = {"made_by": "morphmlp", "version": _MANIFEST_VERSION, "seed": seed, **counts, "classes": list(CLASSES)}
    if _is_complete(root, manifest):
        return root
    with replaced_folder(root) as partial_root:
        _write_clips(partial_root, counts, seed=seed, workers=workers or os.cpu_count() or 1)
        (partial_root / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        _is_complete(root, manifest)  # refuses what another process may have put there in the meantime
    return root


def render_clip(
    class_name: str, *, seed: int, frames: int | None = None, size: tuple[int, int] = FRAME_SIZE
) -> np.ndarray:
    """One clip of a class, uint8 RGB [T, H, W, 3]; the same seed gives the same clip.

    `frames` is T, drawn from 20 to 28 by default; `size` is (H, W) in pixels. For one seed the two classes of a pair
    show the same scene, forwards and backwards.

    Raises:
        DataError: the class is unknown, or `frames`, `size` or `seed` is too small.

    >>> render_clip("moving_left_to_right", seed=0, frames=24).shape
    (24, 80, 96, 3)
    """
    if class_name not in CLASSES:
        raise DataError(f"class_name={class_name!r} is not one of the synthetic classes: {', '.join(CLASSES)}")
    if seed < 0 or min(size) < 16 or (frames is not None and frames < 2):
        raise DataError(
            f"seed={seed}, frames={frames}, size={size}: the least are a seed of 0, 2 frames, 16 pixels a side"
        )
    pair, is_reversed = divmod(CLASSES.index(class_name), 2)
    generator = np.random.default_rng([pair, seed])
    num_frames = int(generator.integers(SHORTEST, LONGEST + 1))
    actors = draw_actors(class_name, generator, num_frames=frames or num_frames)
    clip = render_scene(actors, generator, num_frames=frames or num_frames, size=size)
    return clip[::-1].copy() if is_reversed else clip


def _is_complete(root: Path, manifest: dict) -> bool:
    """Whether `root` is the set that `manifest` describes; False if nothing is there, an error if it is another."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    advice = "give another folder, or delete this one"
    try:
        found = json.loads((root / MANIFEST).read_text())
    except (OSError, ValueError):
        raise DataError(f"{root} exists and is not a data set written by morphmlp: {advice}") from None
    if found != manifest:
        raise DataError(f"{root} holds a synthetic data set made with other arguments, {found}: {advice}")
    for clip in _list_clips(manifest):
        if not (path := _clip_path(root, *clip)).is_file():
            raise DataError(f"{root} is damaged, {path.relative_to(root)} is missing: {advice}")
    return True


def _write_clips(root: Path, counts: dict[str, int], *, seed: int, workers: int) -> None:
    def write(clip: tuple[str, str, int]) -> None:
        path = _clip_path(root, *clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        encode(path, render_clip(clip[1], seed=_clip_seed(*clip, seed=seed)))

    # Threads suffice: numpy and x264 leave the interpreter lock. An exception cancels the clips that have not begun.
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(write, _list_clips(counts)))


def _list_clips(counts: dict[str, int]) -> list[tuple[str, str, int]]:
    return [(split, name, number) for split in SPLITS for name in CLASSES for number in range(1, counts[split] + 1)]


def _clip_path(root: Path, split: str, class_name: str, number: int) -> Path:
    return root / split / class_name / f"{class_name}_{number:04d}.mp4"


def _clip_seed(split: str, class_name: str, number: int, *, seed: int) -> int:
    """Numbers the clips of all sets: no two share a scene, and a clip stays the same when a set grows.

    Seed 0, split val (1), class 3, number 7, with 10 classes: (0 * 2 + 1) * 10 + 3 = 13, so the clip is 130007.
    """
    folder = (seed * len(SPLITS) + SPLITS.index(split)) * len(CLASSES) + CLASSES.index(class_name)
    return folder * (_MOST_PER_CLASS + 1) + number


def encode(path: Path, clip: np.ndarray, *, key_frame_every: int = 1) -> None:
    """Writes uint8 [T, H, W, 3] as H.264; yuv420p needs an even H and W.

    Clips have key frames only, at a constant quantiser: with predicted frames the first one would be the sharpest, and
    the coding would tell the direction in which the clip was written.
    """
    options = {"qp": "20", "preset": "veryfast", "x264-params": f"keyint={key_frame_every}:scenecut=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options=options)
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # the clips run in parallel already
        for picture in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
