"""Clips that show nothing of any class, rendered here: what does a model say of noise, or of a black picture?"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

FRAMES = 64  # of a probe: 16 frames with a stride of 4

Render = Callable[[np.random.Generator, tuple[int, int]], Iterator[np.ndarray]]


def _scrolling_noise(generator: np.random.Generator, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """A picture of noise that moves to the left by a hundredth of its height a frame, and comes in again."""
    picture = _noise(generator, size)
    for frame in range(FRAMES):
        yield np.roll(picture, -round(frame * size[0] / 100), axis=1)


def _static(generator: np.random.Generator, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """New noise in each frame, as of a television without a station."""
    for _ in range(FRAMES):
        yield _noise(generator, size)


def _noise(generator: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    return generator.integers(0, 256, (*size, 3), dtype=np.uint8)


def _gradient(generator: np.random.Generator, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """One still picture, from one colour at the top left to others at the right and at the bottom."""
    down, across = np.linspace(0, 1, size[0])[:, None, None], np.linspace(0, 1, size[1])[None, :, None]
    start, right, bottom = generator.uniform(40, 215, (3, 3))
    picture = start + across * (right - start) / 2 + down * (bottom - start) / 2
    yield from [picture.astype(np.uint8)] * FRAMES


def _plain(level: int) -> Render:
    def render(generator: np.random.Generator, size: tuple[int, int]) -> Iterator[np.ndarray]:
        yield from [np.full((*size, 3), level, np.uint8)] * FRAMES

    return render


PROBES: dict[str, Render] = {
    "scrolling noise": _scrolling_noise,
    "static": _static,
    "black frames": _plain(0),
    "white frames": _plain(255),
    "a still gradient": _gradient,
}


def write_probes(folder: Path, *, short_side: int, moving: bool, seed: int = 0) -> dict[str, Path]:
    """Writes each probe, and returns where: a folder of frames, or one image.

    Frames are files without loss, so that the noise is what the model sees, and no codec's idea of it.

    Args:
        short_side: of the frames, in px; the long side is 4/3 of it.
        moving: for a model of videos; else each probe is its first frame.
    """
    paths = {}
    for number, (name, render) in enumerate(PROBES.items()):
        frames = render(np.random.default_rng([seed, number]), (short_side, short_side * 4 // 3))
        paths[name] = folder / str(number) if moving else folder / f"{number}.png"
        if moving:
            paths[name].mkdir()
            for count, frame in enumerate(frames):
                _write_png(frame, paths[name] / f"{count:03d}.png")
        else:
            _write_png(next(frames), paths[name])
    return paths


def _write_png(frame: np.ndarray, path: Path) -> None:
    Image.fromarray(frame).save(path, compress_level=1)
