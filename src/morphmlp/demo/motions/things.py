"""What a clip of a motion is about: the things that act, and what the camera and the light do meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from morphmlp.demo.painting import PATTERNS, SHAPES, Thing, two_tones

Curve = np.ndarray | float  # over the time of a clip, [T]; a number where nothing changes
Progress = np.ndarray  # how much of the event is over, from 0 to 1, [T]
RIGHT, DOWN, LEFT, UP = 0.0, np.pi / 2, np.pi, -np.pi / 2  # directions, radians


@dataclass(frozen=True)
class Scene:
    """What acts, and what the camera does; lengths in short sides of the frame.

    Attributes:
        actors: the things that the class is about.
        camera: how far the camera has moved to the right and down, [T, 2].
        light: factor on the brightness of all, [T].
        hiding: a thing that stays in front of the actors and is a part of the event.
    """

    actors: list[Thing]
    camera: np.ndarray | None = None
    light: np.ndarray | None = None
    hiding: Thing | None = None


Event = Callable[[np.random.Generator, Progress], Scene]


def actor(
    generator: np.random.Generator,
    progress: Progress,
    *,
    shape: str | None = None,
    pattern: str | None = None,
    at: tuple[Curve, Curve] | None = None,
    **curves: Curve,
) -> Thing:
    """A thing of any size, look and colour near the middle, that stays as it is until a curve says otherwise.

    Args:
        at: its x and y.
        curves: others of a `Thing`.
    """
    usual = {
        "x": generator.uniform(-0.15, 0.15),
        "y": generator.uniform(-0.15, 0.15),
        "radius": generator.uniform(0.1, 0.22),
        "angle": any_direction(generator) + generator.uniform(-0.3, 0.3) * progress,
        "opening": np.pi,
        "aspect": np.exp(generator.uniform(-0.2, 0.2)),
    }
    if at is not None:
        curves |= {"x": at[0], "y": at[1]}
    over_time: dict[str, Any] = {
        name: np.broadcast_to(value, progress.shape).copy() for name, value in (usual | curves).items()
    }
    any_shape, any_pattern = one_of(generator, *SHAPES), one_of(generator, *PATTERNS)
    return Thing(
        **over_time,
        shape=shape or any_shape,
        pattern=pattern or any_pattern,
        colours=two_tones(generator, saturation=generator.uniform(0.2, 0.95), value=generator.uniform(0.45, 1.0)),
    )


def any_direction(generator: np.random.Generator) -> float:
    """An angle in radians; 0 is to the right, and half of pi is down."""
    return generator.uniform(-np.pi, np.pi)


def one_of(generator: np.random.Generator, *names: str) -> str:
    return str(generator.choice(names))


def place(away: Curve, direction: Curve, *, x: float = 0.0, y: float = 0.0) -> tuple[Curve, Curve]:
    """The x and y of what is so far away from a point, in a direction.

    >>> x, y = place(0.5, RIGHT, x=0.1, y=0.2)
    >>> float(x), float(y)
    (0.6, 0.2)
    """
    return x + away * np.cos(direction), y + away * np.sin(direction)
