"""Rand-augment on clips (arXiv 1909.13719): timm draws the operations once, and all frames get the same.

The result is that of timm's operations on each frame. timm and Pillow do most of them, on whole clips at once where a
pixel depends on itself alone. Pillow's bicubic turns, shears and shifts and its sharpening took four fifths of
the time: here the taps and weights are computed once and serve all frames.
"""

import math
import random
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

# How far the result of an operation depends on the frame: on the pixel's own colour, or on each of its channels alone.
_BY_COLOR = ("color",)
_BY_TABLE = ("invert", "posterize", "solarize", "solarize_add", "brightness")
_RAMP = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2))  # every level, once

_MOST_PIXELS = 2**17  # whose taps are held at a time
_MOST_VALUES = 2**24  # of frames, held as floats at a time

# A sum of floats that is just below a whole level must not lose one when it is cut off. Several times its error.
_ROUNDING = 2e-4

Affine = tuple[float, float, float, float, float, float]


class Box(NamedTuple):
    """A part of a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.width)


class Step(NamedTuple):
    """One operation that was drawn: timm's function of a Pillow image, and its arguments."""

    function: Callable[..., Image.Image]
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return self.function.__name__

    def __call__(self, image: Image.Image) -> Image.Image:
        if self.name == "posterize" and self.arguments[0] < 1:
            return Image.new("RGB", image.size)  # full strength; recent versions of Pillow refuse to keep no bit
        return self.function(image, *self.arguments, **self.options)


def draw_steps(notation: str, *, fill: tuple[int, ...], seed: int) -> list[Step]:
    """The operations that timm draws for one image; random states are left as they were.

    Args:
        notation: timm's, such as "rand-m7-n4-mstd0.5-inc1".
        fill: RGB levels of what turns, shears and shifts let in.
    """
    # Two seeds: with the same one, numpy's generator and torch's would give the same bits.
    for_random, for_numpy = np.random.SeedSequence(seed).generate_state(2).tolist()
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - timm draws from the global states
    try:
        random.seed(for_random)
        np.random.seed(for_numpy)  # noqa: NPY002
        return _recorder(notation, fill)([])
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


@lru_cache(maxsize=64)
def _recorder(notation: str, fill: tuple[int, ...]) -> Callable[[list[Step]], list[Step]]:
    """timm's transform, whose operations append themselves to a list instead of changing an image."""
    from timm.data.auto_augment import rand_augment_transform  # takes seconds to import

    transform = rand_augment_transform(notation, {"img_mean": fill, "interpolation": Image.Resampling.BICUBIC})
    for operation in transform.ops:
        operation.aug_fn = partial(_record, operation.aug_fn)
    return transform


def _record(function: Callable[..., Image.Image], steps: list[Step], *arguments: Any, **options: Any) -> list[Step]:
    return [*steps, Step(function, arguments, options)]


def apply_steps(frames: np.ndarray, steps: list[Step], *, box: Box | None = None) -> np.ndarray:
    """The operations on each frame, uint8 `[T, H, W, 3]`; returns the part of the result in `box` (None: all of it).

    The result is timm's on each frame, with one exception: turns, shears and shifts of clips (not of images) can be one
    level off where an exact sum is nearly a whole level. That is one value in thousands: they sum in single precision,
    and Pillow in double. Only what the box depends on is computed.
    """
    whole = Box(0, 0, *frames.shape[1:3])
    box = box or whole
    if len(frames) == 1:  # sharing between frames gains nothing
        for step in steps:
            frames = _frame_by_frame(frames, step)
        return frames[:, box.rows, box.columns]
    held, needed = whole, _needed_boxes(steps, box, whole)
    for step, before, after in zip(steps, needed, needed[1:], strict=False):
        frames, held = _part(frames, held, before), before
        if step.name in _MATRICES:
            matrix = _MATRICES[step.name](whole, *step.arguments)
            frames = resample(frames, matrix, before, after, frame=whole, fill=step.options["fillcolor"])
            held = after
        else:
            frames = _changed(frames, step)
    return _part(frames, held, box)


def _needed_boxes(steps: list[Step], box: Box, whole: Box) -> list[Box]:
    """The box of the frames that must be known before each step, and last the box of the result."""
    boxes = [box]
    for step in reversed(steps):
        if step.name in _MATRICES:
            box = _source_box(_MATRICES[step.name](whole, *step.arguments), box, whole)
        elif step.name == "sharpness":
            box = _within(
                whole, top=box.top - 1, left=box.left - 1, bottom=box.rows.stop + 1, right=box.columns.stop + 1
            )
        elif step.name not in (*_BY_TABLE, *_BY_COLOR):  # statistics of the whole frame
            box = whole
        boxes.append(box)
    return boxes[::-1]


def _within(whole: Box, *, top: int, left: int, bottom: int, right: int) -> Box:
    """The part of a box that lies in the frame: one pixel at least."""
    top, left = min(max(top, 0), whole.height - 1), min(max(left, 0), whole.width - 1)
    bottom, right = max(min(bottom, whole.height), top + 1), max(min(right, whole.width), left + 1)
    return Box(top, left, bottom - top, right - left)


def _part(frames: np.ndarray, held: Box, wanted: Box) -> np.ndarray:
    """The part `wanted` of frames that are already cut to the part `held`."""
    if wanted == held:
        return frames
    top, left = wanted.top - held.top, wanted.left - held.left
    return np.ascontiguousarray(frames[:, top : top + wanted.height, left : left + wanted.width])


def _changed(frames: np.ndarray, step: Step) -> np.ndarray:
    """All but the geometric operations."""
    if step.name in _BY_TABLE:
        table = np.array(step(_RAMP))[0, :, 0].tobytes()
        return np.frombuffer(bytearray(frames).translate(table), np.uint8).reshape(frames.shape)
    if step.name in _BY_COLOR:
        return np.array(step(_tall_image(frames))).reshape(frames.shape)
    if step.name == "sharpness":
        return _sharpened(frames, *step.arguments)
    return _frame_by_frame(frames, step)


def _frame_by_frame(frames: np.ndarray, step: Step) -> np.ndarray:
    return np.stack([np.asarray(step(Image.fromarray(frame))) for frame in frames])


def _tall_image(frames: np.ndarray) -> Image.Image:
    return Image.fromarray(frames.reshape(-1, *frames.shape[2:]))  # [T, H, W, 3] -> [T*H, W, 3]


def _sharpened(frames: np.ndarray, factor: float) -> np.ndarray:
    """Pillow's Sharpness: a blend of each frame with its smooth version, which keeps the outermost pixels.

    The smooth version is the rounded mean of 3 x 3 pixels, of which the middle one counts five times.
    """
    smooth = frames.copy()
    for frame, result in zip(frames, smooth, strict=True):  # one by one: they fit the processor's cache
        levels = frame.astype(np.uint16)
        sums = levels[:-2] + levels[1:-1] + levels[2:]
        sums = sums[:, :-2] + sums[:, 1:-1] + sums[:, 2:] + 4 * levels[1:-1, 1:-1]
        result[1:-1, 1:-1] = (2 * sums + 13) // 26  # sums / 13, to the nearest
    return np.array(Image.blend(_tall_image(smooth), _tall_image(frames), factor)).reshape(frames.shape)


def _turn(frame: Box, degrees: float) -> Affine:
    """Pillow's: counter-clockwise about the middle."""
    angle = -math.radians(degrees % 360.0)
    cosine, sine = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = frame.width / 2, frame.height / 2
    return cosine, sine, cosine * -x + sine * -y + x, -sine, cosine, -sine * -x + cosine * -y + y


# The source of an output pixel at (x, y) is at (a x + b y + c, d x + e y + f); the middle of a pixel is at halves.
_MATRICES: dict[str, Callable[..., Affine]] = {
    "rotate": _turn,
    "shear_x": lambda frame, factor: (1, factor, 0, 0, 1, 0),
    "shear_y": lambda frame, factor: (1, 0, 0, factor, 1, 0),
    "translate_x_rel": lambda frame, share: (1, 0, share * frame.width, 0, 1, 0),
    "translate_y_rel": lambda frame, share: (1, 0, 0, 0, 1, share * frame.height),
}


def _source_box(matrix: Affine, box: Box, whole: Box) -> Box:
    """The pixels that a box of the output takes its values from: two beyond the sources of its corners."""
    a, b, c, d, e, f = matrix
    corners = [(x, y) for x in (box.left, box.columns.stop) for y in (box.top, box.rows.stop)]
    xs, ys = [a * x + b * y + c for x, y in corners], [d * x + e * y + f for x, y in corners]
    top, left = math.floor(min(ys)) - 2, math.floor(min(xs)) - 2
    return _within(whole, top=top, left=left, bottom=math.ceil(max(ys)) + 2, right=math.ceil(max(xs)) + 2)


def resample(
    pixels: np.ndarray, matrix: Affine, source: Box, result: Box, *, frame: Box, fill: tuple[int, ...]
) -> np.ndarray:
    """The `result` box of Pillow's bicubic `Image.transform` of each frame, uint8 `[T, h, w, 3]`.

    A value is a weighted sum of up to 16 pixels, the same ones in every frame. So the frames are laid side by side, as
    rows of `[pixels, T * 3]`, and every output pixel is a weighted sum of rows, which `embedding_bag` computes.

    Args:
        pixels: the `source` box of the frames.
        frame: the whole of a frame; `fill` is beyond its edges.
    """
    at_a_time = max(1, _MOST_VALUES // pixels[0].size)
    tables = [_side_by_side(pixels[first : first + at_a_time]) for first in range(0, len(pixels), at_a_time)]
    sums = [np.empty((result.height * result.width, table.shape[1]), np.uint8) for table in tables]
    rows_at_a_time = max(1, _MOST_PIXELS // result.width)
    for first in range(0, result.height, rows_at_a_time):
        band = result._replace(top=result.top + first, height=min(rows_at_a_time, result.height - first))
        taps, weights, outside = _taps(matrix, band, source, frame)
        lines = slice(first * result.width, (first + band.height) * result.width)
        for table, values in zip(tables, sums, strict=True):
            bags = F.embedding_bag(taps, torch.from_numpy(table).float(), mode="sum", per_sample_weights=weights)
            np.copyto(values[lines], bags.add_(_ROUNDING).clamp_(0, 255).numpy(), casting="unsafe")  # cut off
            values[lines].reshape(len(taps), -1, 3)[outside] = fill
    return np.concatenate([_one_after_the_other(values, result) for values in sums])


def _side_by_side(frames: np.ndarray) -> np.ndarray:
    """`[T, H, W, 3]` -> `[H*W, T*3]`."""
    pixels = frames.reshape(len(frames), -1).view("V3")  # three bytes as one value are moved faster
    return np.ascontiguousarray(pixels.T).view(np.uint8)


def _one_after_the_other(pixels: np.ndarray, box: Box) -> np.ndarray:
    """`[h*w, T*3]` -> `[T, h, w, 3]`."""
    return np.ascontiguousarray(pixels.view("V3").T).view(np.uint8).reshape(-1, box.height, box.width, 3)


def _taps(matrix: Affine, result: Box, source: Box, frame: Box) -> tuple[Tensor, Tensor, np.ndarray]:
    """Taps in `source` and their weights, `[pixels, taps]`, of each pixel of `result`; and those without a source."""
    a, b, c, d, e, f = matrix
    y, x = np.arange(result.height)[:, None] + result.top + 0.5, np.arange(result.width) + result.left + 0.5
    # [h, w], or a single row or column where all are alike
    source_x = a * x + b * y + c if b else a * x[None] + c
    source_y = d * x + e * y + f if d else e * y + f
    outside = (source_x < 0) | (source_x >= frame.width) | (source_y < 0) | (source_y >= frame.height)
    columns = _cubic_taps(source_x - 0.5, source.columns)
    lines = _cubic_taps(source_y - 0.5, source.rows)
    taps = [line * source.width + column for line, _ in lines for column, _ in columns]
    weights = [by_line * by_column for _, by_line in lines for _, by_column in columns]
    shape = result.height, result.width
    stacked = [np.stack([np.broadcast_to(part, shape).ravel() for part in parts], axis=-1) for parts in (taps, weights)]
    return torch.from_numpy(stacked[0]), torch.from_numpy(stacked[1]), outside.ravel().nonzero()[0]


def _cubic_taps(positions: np.ndarray, held: slice) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels around each position on one axis, and their weights; pixels whose weights are all 0 are left out.

    Pixels count from the first one held. Cubic convolution with a = -1, as in Pillow's transforms (its resizing takes
    -0.5). The outermost pixels are repeated beyond the edges of the frame, where what is held ends too.
    """
    below = np.floor(positions)
    part = (positions - below).astype(np.float32)
    below = below.astype(np.int32)
    square = part * part
    cube = square * part
    weights = (2 * square - part - cube, 1 - 2 * square + cube, part + square - cube, cube - square)
    return [
        (np.clip(below + offset, held.start, held.stop - 1) - held.start, weight)
        for offset, weight in zip((-1, 0, 1, 2), weights, strict=True)
        if weight.any()
    ]
