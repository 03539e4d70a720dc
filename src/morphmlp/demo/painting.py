"""How rendered videos are drawn: things with an outline and a pattern, colours, and smooth noise in space and time."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Thing:
    """Something in the picture. Lengths are in short sides of the frame, positions from its centre, all [T]."""

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    angle: np.ndarray  # radians
    opening: np.ndarray  # half the angle of the sector that is shown, radians; pi for all of it
    shape: str
    pattern: str
    colours: np.ndarray  # [2, 3], RGB from 0 to 1
    first: int = 0  # the frame of the scene that is its first one
    aspect: np.ndarray | None = None  # width over height before it is turned, at the same area
    tint: np.ndarray | None = None  # from blue, 0, to red, 1

    def shown_in(self, frame: int) -> bool:
        return self.first <= frame < self.first + len(self.x)

    def backwards(self) -> "Thing":
        """The same in reverse time."""
        curves = ("x", "y", "radius", "angle", "opening", "aspect", "tint")
        return replace(self, **{name: curve[::-1] for name in curves if (curve := getattr(self, name)) is not None})


def paint(picture: np.ndarray, thing: Thing, *, frame: int, centre: tuple[float, float], short_side: int) -> None:
    """Draws a thing and its shadow into `picture` [H, W, 3], in place, with smooth edges."""
    radius = thing.radius[frame] * short_side
    x, y = centre[0] + thing.x[frame] * short_side, centre[1] + thing.y[frame] * short_side
    longer = 1.0 if thing.aspect is None else float(np.exp(abs(np.log(thing.aspect[frame])) / 2))
    reach, height, width = radius * longer * 1.35 + 2, *picture.shape[:2]
    top, bottom = max(0, int(y - reach)), min(height, int(y + reach) + 1)
    left, right = max(0, int(x - reach)), min(width, int(x + reach) + 1)
    if top >= bottom or left >= right:
        return
    window = picture[top:bottom, left:right]
    across = (np.arange(left, right, dtype=np.float32) + np.float32(0.5 - x))[None, :]
    down = (np.arange(top, bottom, dtype=np.float32) + np.float32(0.5 - y))[:, None]
    fall = np.float32(0.18 * radius)  # the light comes from the upper left
    shadow, _ = _distance(thing, frame=frame, across=across - fall, down=down - fall, radius=radius)
    window *= 1 - 0.4 * np.clip(0.5 - shadow / (1 + fall), 0, 1)[..., None]
    distance, tone = _distance(thing, frame=frame, across=across, down=down, radius=radius)
    bright, dark = _colours(thing, frame=frame)
    colour = bright + (dark - bright) * tone[..., None]
    colour *= 1.05 - 0.18 * ((across + down) / np.float32(radius))[..., None]  # shading
    colour *= 0.45 + 0.55 * np.clip(-distance / 1.5, 0, 1)[..., None]  # a dark outline of 1.5 pixels
    window += (colour - window) * np.clip(0.5 - distance, 0, 1)[..., None]


def _colours(thing: Thing, *, frame: int) -> np.ndarray:
    """The two tones of a thing at a moment, [2, 3]."""
    if thing.tint is None:
        return thing.colours.astype(np.float32)
    part = np.float32(thing.tint[frame])
    return (part * _RED + (1 - part) * _BLUE) * np.array([[1.0], [0.6]], np.float32)


_BLUE, _RED = np.array([0.15, 0.35, 0.95], np.float32), np.array([0.95, 0.3, 0.15], np.float32)


def _distance(
    thing: Thing, *, frame: int, across: np.ndarray, down: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """The distance to the outline in pixels, negative inside, and the pattern's tone from 0 to 1; both [h, w].

    `across` [1, w] and `down` [h, 1] are pixels from the thing's centre.
    """
    cosine, sine = np.float32(np.cos(thing.angle[frame])), np.float32(np.sin(thing.angle[frame]))
    u = (across * cosine + down * sine) / np.float32(radius)
    v = (down * cosine - across * sine) / np.float32(radius)
    if thing.aspect is not None:
        wide = np.float32(np.sqrt(thing.aspect[frame]))
        u, v = u / wide, v * wide
    from_centre = np.hypot(u, v)
    outline = _OUTLINES[thing.shape](u, v, from_centre)
    if (half := np.float32(thing.opening[frame])) < np.pi:
        outline = np.maximum(outline, np.abs(v) * np.cos(half) - u * np.sin(half))
    return outline * np.float32(radius), _PATTERNS[thing.pattern](u, v, from_centre)


_Field = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # of u, v and the distance r from the centre
_OUTLINES: dict[str, _Field] = {
    "disc": lambda u, v, r: r - 1,
    "square": lambda u, v, r: np.hypot(np.maximum(np.abs(u) - 0.6, 0), np.maximum(np.abs(v) - 0.6, 0)) - 0.28,
    "ring": lambda u, v, r: np.abs(r - 0.75) - 0.25,
    "bar": lambda u, v, r: np.hypot(np.maximum(np.abs(u) - 0.85, 0), np.maximum(np.abs(v) - 0.2, 0)) - 0.12,
    "flower": lambda u, v, r: r - 0.88 - 0.14 * np.cos(5 * np.arctan2(v, u)),
}
_PATTERNS: dict[str, _Field] = {
    "plain": lambda u, v, r: np.zeros_like(u),
    "stripes": lambda u, v, r: np.clip(0.5 + 2.5 * np.sin(9 * u), 0, 1),
    "rings": lambda u, v, r: np.clip(0.5 + 2.5 * np.sin(11 * r), 0, 1),
    "checks": lambda u, v, r: np.clip(0.5 + 2.5 * np.sin(8 * u) * np.sin(8 * v), 0, 1),
    "rays": lambda u, v, r: np.clip(0.5 + 2.5 * np.sin(7 * np.arctan2(v, u)), 0, 1),
}
SHAPES, PATTERNS = tuple(_OUTLINES), tuple(_PATTERNS)


def two_tones(generator: np.random.Generator, *, saturation: float, value: float) -> np.ndarray:
    """A colour of any hue and a darker one of nearly the same hue, [2, 3]."""
    hues = generator.uniform(0, 1) + np.array([0.0, generator.uniform(-0.08, 0.08)])
    wheel = np.abs((hues[:, None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1  # hue to RGB, [2, 3]
    return value * (1 - saturation * (1 - np.clip(wheel, 0, 1))) * np.array([[1.0], [0.6]])


def wander(generator: np.random.Generator, time: np.ndarray, *, channels: int) -> np.ndarray:
    """Smooth random curves of about unit amplitude, [T, channels]: three sines of random frequency and phase.

    `time` [T] counts clips, each with half a cycle to three and a half.
    """
    cycles, phase = generator.uniform(0.5, 3.5, size=(channels, 3)), generator.uniform(0, 2 * np.pi, (channels, 3))
    return np.sin(2 * np.pi * cycles * time[:, None, None] + phase).mean(axis=2) * 1.7


def smooth_noise(generator: np.random.Generator, *, size: tuple[int, int], cell: tuple[float, float]) -> np.ndarray:
    """Random values on a grid of `cell` pixels (height, width), interpolated smoothly; [H, W] from 0 to 1."""
    grid = generator.uniform(0, 1, [int(side / step) + 2 for side, step in zip(size, cell, strict=True)])
    for axis, (side, step) in enumerate(zip(size, cell, strict=True)):
        # Pixel 13 of cells of 5 pixels lies 0.6 of the way from grid line 2 to grid line 3.
        line, part = np.divmod(np.arange(side) / step, 1)
        part = np.expand_dims(part**2 * (3 - 2 * part), 1 - axis)
        low, high = (np.take(grid, line.astype(int) + shift, axis) for shift in (0, 1))
        grid = low * (1 - part) + high * part
    return grid
