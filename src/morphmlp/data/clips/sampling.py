"""Which frames make a clip: dense sampling for Kinetics (Sec. 4.1), sparse sampling for Something-Something (Sec. 4.2).

The paper names the two; the arithmetic, down to the rounding, is that of the released test code, so that a published
checkpoint sees the frames it was evaluated on. Every function is stateless, works on integers and knows neither files
nor tensors. A video that is too short repeats frames; no function returns an index outside 0 .. num_frames - 1.
"""

import math
from itertools import pairwise

import numpy as np

from morphmlp.errors import ConfigError


def dense_indices(
    num_frames: int,
    *,
    fps: float,
    frames: int,
    stride: int,
    clip: int,
    num_clips: int,
    target_fps: float = 30,
) -> list[int]:
    """Return the `frames` indices of test clip number `clip` out of `num_clips` spread over the video.

    A clip spans c = frames * stride * fps / target_fps frames of the video, the same seconds at any frame rate. The
    room d = max(num_frames - c, 0) is shared out: clip i starts at i * floor(d / (num_clips - 1)), a single clip at
    floor(d / 2). The indices are linspace(start, start + c - 1, frames), truncated and clamped to the video.

    Args:
        num_frames: frames in the video.
        fps: the video's average frames a second.
        frames: frames in a clip.
        stride: frames from one sampled frame to the next, at `target_fps`.
        clip: 0 .. num_clips - 1.
        num_clips: clips a video.
        target_fps: the frame rate that `stride` is meant for.

    Raises:
        ConfigError: an argument is out of range.

    300 frames at 30 fps, 8 frames with stride 4: c = 32, d = 268, three clips start at 0, 134 and 268, and the step is
    31 / 7 = 4.43, a little above the stride:

    >>> dense_indices(300, fps=30, frames=8, stride=4, clip=1, num_clips=3)
    [134, 138, 142, 147, 151, 156, 160, 165]
    """
    _require_clip(clip, num_clips)
    clip_span = _dense_span(num_frames, fps=fps, frames=frames, stride=stride, target_fps=target_fps)
    room = max(num_frames - clip_span, 0)
    start = math.floor(room / 2) if num_clips == 1 else clip * math.floor(room / (num_clips - 1))
    return _spread(start, span=clip_span, num_points=frames, num_frames=num_frames)


def random_dense_indices(
    num_frames: int,
    *,
    fps: float,
    frames: int,
    stride: int,
    generator: np.random.Generator,
    target_fps: float = 30,
) -> list[int]:
    """Return `frames` indices of a clip that starts anywhere in the video: the training form of `dense_indices`.

    The start is uniform over the real interval from 0 to d, the room that `dense_indices` explains, so every frame of
    a long video can be the first one.

    Raises:
        ConfigError: an argument is out of range.

    >>> random_dense_indices(300, fps=30, frames=8, stride=4, generator=np.random.default_rng(0))
    [170, 175, 179, 183, 188, 192, 197, 201]
    """
    clip_span = _dense_span(num_frames, fps=fps, frames=frames, stride=stride, target_fps=target_fps)
    start = generator.uniform(0, max(num_frames - clip_span, 0))
    return _spread(start, span=clip_span, num_points=frames, num_frames=num_frames)


def sparse_indices(num_frames: int, *, frames: int, clip: int = 0, num_clips: int = 1) -> list[int]:
    """Return one frame of each of `frames` equal segments, the same place in each: the middle when there is one clip.

    With s = (num_frames - 1) / frames, frame i is round(s * i) + int(s / (num_clips + 1) * (clip + 1)); `round` takes
    halves to the even side.

    Raises:
        ConfigError: an argument is out of range.

    33 frames, 8 wanted: s = 4, segments start at 0, 4, 8, ..., and the middle is int(4 / 2) = 2 further on:

    >>> sparse_indices(33, frames=8)
    [2, 6, 10, 14, 18, 22, 26, 30]
    """
    _require_clip(clip, num_clips)
    segment_length = _segment_length(num_frames, frames)
    offset = int(segment_length / (num_clips + 1) * (clip + 1))
    return [round(segment_length * segment) + offset for segment in range(frames)]


def random_sparse_indices(num_frames: int, *, frames: int, generator: np.random.Generator) -> list[int]:
    """Return one random frame of each of `frames` equal segments: the training form of `sparse_indices`.

    Segment i holds the frames round(s * i) .. round(s * (i + 1)) - 1, at least one, and the last segment holds the last
    frame too. When the video has more than `frames` frames, no two segments share a frame, so none is taken twice.

    Raises:
        ConfigError: an argument is out of range.

    33 frames, 8 wanted: one of 0..3, one of 4..7, ..., one of 28..32:

    >>> random_sparse_indices(33, frames=8, generator=np.random.default_rng(0))
    [3, 6, 10, 13, 17, 20, 24, 28]
    """
    segment_length = _segment_length(num_frames, frames)
    bounds = [round(segment_length * segment) for segment in range(frames)]
    lasts = [max(start, following - 1) for start, following in pairwise(bounds)]
    lasts.append(num_frames - 1)
    return [int(generator.integers(first, last, endpoint=True)) for first, last in zip(bounds, lasts, strict=True)]


def frames_at_rate(num_frames: int, *, fps: float, rate: float) -> list[int]:
    """Return which of the video's frames each frame of a copy at another rate shows, as `ffmpeg -r rate` makes it.

    The frames of Something-Something V2 that the released models were trained and tested on were extracted at 30 a
    second, from videos of 12. Counting on that clock finds the frames that they saw. FFmpeg shows each frame until the
    next one is due, rounded to the copy's clock: frames are repeated, or left out where the video has more.
    Times are rounded to milliseconds first, as WebM holds them, the format of that set: this decides every tie.

    >>> frames_at_rate(5, fps=12, rate=30)
    [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4]
    """
    _require_at_least_one(num_frames=num_frames)
    _require_rates(fps=fps, rate=rate)
    shown: list[int] = []
    for frame in range(num_frames):
        time_s = round(1000 * frame / fps) / 1000
        due = (time_s * rate - len(shown)) + rate / fps  # of the next frame, in frames of the copy from here
        repeats = round(due) if due > 1.1 else int(due >= -1.1)
        shown += [frame] * repeats
    return shown


def warped_clock(num_frames: int, *, frames: int, strength: float, generator: np.random.Generator) -> list[int]:
    """Return which frame a video shows at each tick of a random, uneven clock: a random change for training.

    Tick u of 0..1 shows the place a + (b - a) * u ** g of the video: g, drawn from e ** -strength to e ** strength,
    hurries one end and holds the other back; a and 1 - b, up to a fifth of `strength`, cut off the ends. There are at
    least 8 ticks for each frame of a clip, so that sampling on them shows a frame of a short video once more or less.

    Args:
        num_frames: frames in the video.
        frames: frames in a clip.
        strength: 0 to 1; 0 counts evenly from end to end.
        generator: what is drawn from.

    Raises:
        ConfigError: an argument is out of range.

    >>> warped_clock(4, frames=1, strength=0, generator=np.random.default_rng(0))
    [0, 0, 1, 1, 2, 2, 3, 3]
    >>> warped_clock(4, frames=1, strength=1, generator=np.random.default_rng(0))
    [0, 0, 1, 1, 1, 2, 3, 3]
    """
    _require_at_least_one(num_frames=num_frames, frames=frames)
    if not 0 <= strength <= 1:
        raise ConfigError(f"strength={strength}: give 0 to 1")
    power = math.exp(generator.uniform(-strength, strength))
    cut_first, cut_last = generator.uniform(0, strength / 5, size=2)
    num_ticks = max(num_frames, 8 * frames)
    ticks = (np.arange(num_ticks) + 0.5) / num_ticks
    places = cut_first + (1 - cut_last - cut_first) * ticks**power
    return (places * num_frames).astype(int).tolist()


def _dense_span(num_frames: int, *, fps: float, frames: int, stride: int, target_fps: float) -> float:
    """Return c, the (fractional) number of the video's frames that a dense clip spans; 16 * 4 * 60 / 30 = 128."""
    _require_at_least_one(num_frames=num_frames, frames=frames, stride=stride)
    _require_rates(fps=fps, target_fps=target_fps)
    return frames * stride * fps / target_fps


def _segment_length(num_frames: int, frames: int) -> float:
    """Return s, the length of a sparse segment; (33 - 1) / 8 = 4.0."""
    _require_at_least_one(num_frames=num_frames, frames=frames)
    return (num_frames - 1) / frames


def _spread(start: float, *, span: float, num_points: int, num_frames: int) -> list[int]:
    """Return `num_points` evenly spaced points of the `span` frames from `start`, truncated, in 0 .. num_frames - 1.

    The released code spaces them with a float32 `torch.linspace`, whose rounding decides the frame wherever a point
    falls on a whole number: of 8 points from 39 to 64.67 the seventh is 61 exactly, and 60.999996 there. So its scheme
    is repeated here: float32, the lower half counted up from the start and the upper half down from the end. Over
    199,680 clips of 4 to 64 frames this gave torch's indices in all, and float64 others, by one frame, in 879: none of
    16 or 32 frames. (Torch's vector code depends on the processor; at other clip lengths it can differ from its scalar
    code, which is what is repeated here.)
    """
    first = np.float32(start)
    last = np.float32(start + max(span, 1) - 1)  # a span below one frame (2 frames of a 10 fps video) must not run back
    if num_points == 1:
        points = first.reshape(1)
    else:
        step = (last - first) / np.float32(num_points - 1)
        steps_from_start = np.arange(num_points, dtype=np.float32)
        points = np.where(
            np.arange(num_points) < num_points // 2,
            first + step * steps_from_start,
            last - step * steps_from_start[::-1],
        )
    return [int(point) for point in points.clip(0, num_frames - 1)]


def _require_clip(clip: int, num_clips: int) -> None:
    _require_at_least_one(num_clips=num_clips)
    if not 0 <= clip < num_clips:
        raise ConfigError(f"clip={clip}: with num_clips={num_clips}, give a clip from 0 to {num_clips - 1}")


def _require_rates(**rates: float) -> None:
    for name, rate in rates.items():
        if not (math.isfinite(rate) and rate > 0):
            raise ConfigError(f"{name}={rate}: give a frame rate above 0, such as 30")


def _require_at_least_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{name}={count}: give 1 or more")
