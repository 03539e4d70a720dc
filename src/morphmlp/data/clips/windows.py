"""Which windows a recording or a stream has: [k * step, k * step + length), in seconds. Pure arithmetic.

Times are compared in whole microseconds, so that 3 * 0.1 and 0.3 are one. Starts are multiples of the step and no sums,
so that they do not drift over hours.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from morphmlp.config import InputConfig
from morphmlp.data.media.stretches import microseconds
from morphmlp.errors import ConfigError

_ROUNDING_US = 1_000  # a rest of the recording that is shorter is the rounding of its times, and gets no window
LEAST_S = 0.01  # of a length and a step: at 240 frames a second, two frames
USUAL_LENGTH_S = 2.0  # of a window, for a checkpoint of whose training nothing is known
# Of a window for a checkpoint that was trained on longer clips: all frames of a window are held at a time.
LONGEST_USUAL_S = 10.0
MEDIAN_DURATION = "median_duration_s"  # of the samples, in the training's summary in `config.json`

NOTHING_KNOWN: Mapping[str, Any] = MappingProxyType({})


def clip_length_s(config: InputConfig, *, frames: int) -> float | None:
    """The seconds that a densely sampled clip spans; None for sparse sampling, which spans all that there is.

    16 frames with stride 4 at 30 a second span 2.13 s.
    """
    return frames * config.stride / config.target_fps if config.sampling == "dense" else None


def usual_length_s(config: InputConfig, *, frames: int, training: Mapping[str, Any] = NOTHING_KNOWN) -> float:
    """The length of a window where none is given.

    It is that of the windows that the model was trained on. Without these, with dense sampling, it is what a clip
    spans. A sparsely sampled clip spans all of its video, so that it is the median length of those that the model was
    trained on, to a tenth of a second and up to 10 s; 2 s where that is not known.

    Args:
        training: the summary of the checkpoint's training.
    """
    if (known_s := config.window_s or clip_length_s(config, frames=frames)) is not None:
        return known_s
    median_s = training.get(MEDIAN_DURATION)
    if not isinstance(median_s, int | float) or not median_s > 0:
        return USUAL_LENGTH_S
    return min(max(round(median_s, 1), 0.1), LONGEST_USUAL_S)


def usual_windows(
    length_s: float | None,
    step_s: float | None,
    *,
    config: InputConfig,
    frames: int,
    training: Mapping[str, Any] = NOTHING_KNOWN,
) -> tuple[float, float]:
    """The length and step of windows, where one is not given: `usual_length_s`, and half of the length.

    Windows that a model has learned the middle of (`InputConfig.window_s`) come eight to a length.
    """
    length_s = usual_length_s(config, frames=frames, training=training) if length_s is None else length_s
    return length_s, length_s / (8 if config.window_s else 2) if step_s is None else step_s


def usual_core_s(length_s: float, step_s: float, *, config: InputConfig) -> float | None:
    """The seconds around the middle of a window that its answer is about; None where that is all of it.

    A model that has learned what happens in the middle (`InputConfig.window_s`) speaks for a quarter of the window, so
    that neighbouring windows are averaged a little; with a longer step, for as much as leaves no gap.

    >>> usual_core_s(1.2, 0.15, config=InputConfig(window_s=1.2)), usual_core_s(2, 1, config=InputConfig())
    (0.3, None)
    """
    return max(length_s / 4, step_s) if config.window_s else None


def window_start(number: int, step_s: float) -> float:
    """When window `number` starts; the first one is 0."""
    return number * step_s


def num_windows(duration_s: float, *, length_s: float, step_s: float) -> int:
    """How many windows cover a recording; one that is not longer than a window has one.

    The last one reaches the end, and is cut off there. With a step above the length there are gaps between the windows,
    and the last one is the last that starts before the end.

    10 s in windows of 4 s every 2 s: they start at 0, 2, 4 and 6 s, and the last one ends at 10 s. 10.5 s have one
    more, from 8 s to the end.

    >>> num_windows(10, length_s=4, step_s=2), num_windows(10.5, length_s=4, step_s=2)
    (4, 5)
    """
    duration, length, step = microseconds(duration_s), microseconds(length_s), microseconds(step_s)
    if duration <= length:
        return 1
    reach_end = math.ceil((duration - length - _ROUNDING_US) / step) + 1
    start_before_end = math.ceil((duration - _ROUNDING_US) / step)
    return max(1, min(reach_end, start_before_end))


def window_times(duration_s: float, *, length_s: float, step_s: float) -> list[tuple[float, float]]:
    """Start and end of the windows that cover a recording.

    >>> window_times(5.5, length_s=2.0, step_s=1.5)
    [(0.0, 2.0), (1.5, 3.5), (3.0, 5.0), (4.5, 5.5)]
    >>> window_times(1.2, length_s=2.0, step_s=1.5)
    [(0.0, 1.2)]
    """
    starts = [window_start(k, step_s) for k in range(num_windows(duration_s, length_s=length_s, step_s=step_s))]
    return [(start_s, min(start_s + length_s, duration_s)) for start_s in starts]


def first_from(time_s: float, *, step_s: float) -> int:
    """The first window that starts at or after a time.

    >>> first_from(3.0, step_s=1.5), first_from(3.1, step_s=1.5)
    (2, 3)
    """
    number = max(math.floor(time_s / step_s) - 1, 0)
    while microseconds(window_start(number, step_s)) < microseconds(time_s):
        number += 1
    return number


def require_windows(length_s: float, step_s: float, *, duration_s: float | None = None) -> None:
    """Raises ConfigError where a length, a step or a duration is no number of seconds that windows can have."""
    lengths = {"length of a window": length_s, "step of a window": step_s}
    if duration_s is not None:
        lengths["duration"] = duration_s
    for name, value in lengths.items():
        if not (math.isfinite(value) and value >= LEAST_S):
            raise ConfigError(f"{name} is {value:g} s; give {LEAST_S} s or more, such as 2")
