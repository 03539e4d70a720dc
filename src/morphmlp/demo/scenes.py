"""What the rendered videos show: things that act before a backdrop, with distractors, camera shake and noise.

The classes come in pairs that only the order of the frames tells apart; a clip of the second is one of the first with
its frames reversed.
"""

from collections.abc import Callable, Sequence
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
        return replace(self, **{name: getattr(self, name)[::-1] for name in ("x", "y", "radius", "angle", "opening")})


def _event_horizontal(generator: np.random.Generator, progress: np.ndarray) -> list[Thing]:
    """One thing crosses the middle of the picture from left to right, at a slight slope."""
    travel, slope = generator.uniform(0.5, 0.66), generator.uniform(-0.12, 0.12)
    along = (progress - 0.5) * travel + generator.uniform(-0.06, 0.06)
    across = (progress - 0.5) * slope + generator.uniform(-0.2, 0.2)
    return [_actor(generator, progress, x=along, y=across)]


def _event_vertical(generator: np.random.Generator, progress: np.ndarray) -> list[Thing]:
    """The same from bottom to top."""
    crossing = _event_horizontal(generator, progress)[0]
    return [_actor(generator, progress, x=crossing.y, y=-crossing.x)]


def _event_approaching(generator: np.random.Generator, progress: np.ndarray) -> list[Thing]:
    """One thing grows, at about the same place."""
    start, growth = generator.uniform(0.07, 0.1), generator.uniform(2.6, 3.4)
    x, y = (generator.uniform(-0.16, 0.16) + generator.uniform(-0.08, 0.08) * progress for _ in range(2))
    return [_actor(generator, progress, x=x, y=y, radius=start * growth**progress)]


def _event_meeting(generator: np.random.Generator, progress: np.ndarray) -> list[Thing]:
    """Two things come closer to each other until they nearly touch, in any direction."""
    direction, far = generator.uniform(-np.pi, np.pi), generator.uniform(0.32, 0.38)
    centre = generator.uniform(-0.08, 0.08, size=2)
    away = far + (0.12 - far) * progress
    x, y = away * np.cos(direction), away * np.sin(direction)
    things = []
    for side in (-1, 1):
        radius = np.full_like(progress, generator.uniform(0.1, 0.13))
        things.append(_actor(generator, progress, x=centre[0] + side * x, y=centre[1] + side * y, radius=radius))
    return things


def _event_opening(generator: np.random.Generator, progress: np.ndarray) -> list[Thing]:
    """A fan opens from a sliver to nearly a full disc."""
    x, y = (generator.uniform(-0.12, 0.12) + generator.uniform(-0.06, 0.06) * progress for _ in range(2))
    narrow, wide = generator.uniform(0.15, 0.4), generator.uniform(2.2, 2.8)
    radius = np.full_like(progress, generator.uniform(0.24, 0.32))
    return [_actor(generator, progress, x=x, y=y, radius=radius, opening=narrow + (wide - narrow) * progress)]


_Event = Callable[[np.random.Generator, np.ndarray], list[Thing]]
_PAIRS: tuple[tuple[str, str, _Event], ...] = (  # a class, its reverse in time, the event of the first
    ("moving_left_to_right", "moving_right_to_left", _event_horizontal),
    ("moving_up", "moving_down", _event_vertical),
    ("approaching_the_camera", "moving_away_from_the_camera", _event_approaching),
    ("moving_closer_to_each_other", "moving_apart", _event_meeting),
    ("opening_something", "closing_something", _event_opening),
)
CLASSES: tuple[str, ...] = tuple(name for forward, reverse, _ in _PAIRS for name in (forward, reverse))
REVERSED: dict[str, str] = {name: CLASSES[index ^ 1] for index, name in enumerate(CLASSES)}  # 0 <-> 1, 2 <-> 3, ...


def _actor(
    generator: np.random.Generator,
    progress: np.ndarray,
    *,
    x: np.ndarray,
    y: np.ndarray,
    radius: np.ndarray | None = None,
    opening: np.ndarray | None = None,
) -> Thing:
    """One of the things that the event is about: large and bright, and it sways a little."""
    sway = generator.uniform(-0.4, 0.4)
    return Thing(
        x=x,
        y=y,
        radius=np.full_like(progress, generator.uniform(0.13, 0.18)) if radius is None else radius,
        angle=generator.uniform(-np.pi, np.pi) + sway * progress,
        opening=np.full_like(progress, np.pi) if opening is None else opening,
        shape=str(generator.choice(["disc", "square", "flower"])) if opening is None else "disc",
        pattern=str(generator.choice(["stripes", "rings", "rays"])),
        colours=two_tones(generator, saturation=generator.uniform(0.75, 0.95), value=generator.uniform(0.85, 1.0)),
    )


def _distractor(generator: np.random.Generator, num_frames: int, *, speed: float) -> Thing:
    """Something beside the event: small, dull, drifting by at most `speed` short sides over the clip."""
    time = np.linspace(-0.5, 0.5, num_frames)
    direction, phase = generator.uniform(-np.pi, np.pi, size=2)
    drift = speed * generator.uniform(0.5, 1.0) * (time + 0.15 * np.sin(2 * np.pi * time + phase))
    return Thing(
        x=generator.uniform(-0.65, 0.65) + drift * np.cos(direction),
        y=generator.uniform(-0.5, 0.5) + drift * np.sin(direction),
        radius=np.full(num_frames, generator.uniform(0.04, 0.085)),
        angle=phase + generator.uniform(-1, 1) * speed * time * 4,
        opening=np.full(num_frames, np.pi),
        shape=str(generator.choice(["disc", "square", "flower"])),
        pattern=str(generator.choice(["stripes", "rings", "plain"])),
        colours=two_tones(generator, saturation=generator.uniform(0.15, 0.5), value=generator.uniform(0.4, 0.8)),
    )


def two_tones(generator: np.random.Generator, *, saturation: float, value: float) -> np.ndarray:
    """A colour of any hue and a darker one of nearly the same hue, [2, 3]."""
    hues = generator.uniform(0, 1) + np.array([0.0, generator.uniform(-0.08, 0.08)])
    wheel = np.abs((hues[:, None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1  # hue to RGB, [2, 3]
    return value * (1 - saturation * (1 - np.clip(wheel, 0, 1))) * np.array([[1.0], [0.6]])


def draw_actors(class_name: str, generator: np.random.Generator, *, num_frames: int) -> list[Thing]:
    """The things that an action is about, over so many frames; those of its reverse are the same."""
    return _PAIRS[CLASSES.index(class_name) // 2][2](generator, _progress(generator, num_frames))


def render_scene(
    actors: Sequence[Thing],
    generator: np.random.Generator,
    *,
    num_frames: int,
    size: tuple[int, int],
    num_clips: float = 1.0,
) -> np.ndarray:
    """Draws one scene, uint8 [T, H, W, 3], with the camera's shake of so many clips."""
    height, width = size
    short_side = min(size)
    margin = short_side // 20 + 2  # pixels of backdrop around the frame, for the shake
    movers = [_distractor(generator, num_frames, speed=0.16) for _ in range(generator.integers(2, 5))]
    backdrop = _backdrop(generator, size=(height + 2 * margin, width + 2 * margin), short_side=short_side)
    time = np.linspace(0, num_clips, num_frames)
    shake = wander(generator, time, channels=2) * 0.016 * short_side  # x and y in pixels
    light = generator.uniform(0.8, 1.05) * (1 + 0.04 * wander(generator, time, channels=1))
    clip = np.empty((num_frames, height, width, 3), dtype=np.float32)
    for frame in range(num_frames):
        _crop(backdrop, shift=shake[frame], margin=margin, out=clip[frame])
        centre = (width / 2 - shake[frame, 0], height / 2 - shake[frame, 1])
        for thing in [*movers[1:], *actors, movers[0]]:  # one distractor passes in front
            if thing.shown_in(frame):
                paint(clip[frame], thing, frame=frame - thing.first, centre=centre, short_side=short_side)
    noise = generator.standard_normal(clip.shape, dtype=np.float32) * np.float32(generator.uniform(0.01, 0.025))
    clip *= light[:, None, None].astype(np.float32)
    return (np.clip(clip + noise, 0, 1) * 255 + 0.5).astype(np.uint8)


def _progress(generator: np.random.Generator, num_frames: int) -> np.ndarray:
    """How much of the event is over, from 0 to 1, [T]: a short rest, the event, a short rest."""
    begin, end = generator.uniform(0.0, 0.15), generator.uniform(0.85, 1.0)
    linear = np.clip((np.linspace(0, 1, num_frames) - begin) / (end - begin), 0, 1)
    ease = generator.uniform(0, 0.7)
    return (1 - ease) * linear + ease * linear**2 * (3 - 2 * linear)


def wander(generator: np.random.Generator, time: np.ndarray, *, channels: int) -> np.ndarray:
    """Smooth random curves of about unit amplitude, [T, channels]: three sines of random frequency and phase.

    `time` [T] counts clips, each with half a cycle to three and a half.
    """
    cycles, phase = generator.uniform(0.5, 3.5, size=(channels, 3)), generator.uniform(0, 2 * np.pi, (channels, 3))
    return np.sin(2 * np.pi * cycles * time[:, None, None] + phase).mean(axis=2) * 1.7


def _backdrop(generator: np.random.Generator, *, size: tuple[int, int], short_side: int) -> np.ndarray:
    """A wall and a table in dull colours with a smooth texture, and things on them; [H, W, 3] from 0 to 1."""
    height, width = size
    tones = np.stack([two_tones(generator, saturation=0.3, value=generator.uniform(0.5, 0.8)) for _ in range(2)])
    edge = height * generator.uniform(0.3, 0.7) + (np.arange(width) - width / 2) * generator.uniform(-0.12, 0.12)
    is_table = np.clip(np.arange(height)[:, None] - edge + 0.5, 0, 1)[..., None]  # [H, W, 1]
    coarse = smooth_noise(generator, size=size, cell=(short_side / 4, short_side / 4))
    grain = smooth_noise(generator, size=size, cell=(short_side / 40, short_side / 8))
    mix = (0.6 * coarse + 0.4 * grain)[..., None]
    wall, table = (tone[0] * (1 - 0.6 * mix) + tone[1] * 0.6 * mix for tone in tones)
    picture = (wall * (1 - is_table) + 0.85 * table * is_table).astype(np.float32)
    for _ in range(generator.integers(5, 9)):
        thing = _distractor(generator, 1, speed=0.0)
        paint(picture, thing, frame=0, centre=(width / 2, height / 2), short_side=short_side)
    return picture


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


def _crop(backdrop: np.ndarray, *, shift: np.ndarray, margin: int, out: np.ndarray) -> None:
    """Copies the frame out of the backdrop, displaced by `shift` pixels (x, y), with linear interpolation."""
    height, width = out.shape[:2]
    (left, top), (part_x, part_y) = np.divmod(shift + margin, 1)
    window = backdrop[int(top) : int(top) + height + 1, int(left) : int(left) + width + 1]
    rows = window[:-1] * np.float32(1 - part_y) + window[1:] * np.float32(part_y)
    out[:] = rows[:, :-1] * np.float32(1 - part_x) + rows[:, 1:] * np.float32(part_x)


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
    bright, dark = thing.colours.astype(np.float32)
    if thing.tint is not None:
        part = np.float32(thing.tint[frame])
        bright, dark = (part * np.array([0.95, 0.3, 0.15], np.float32) + (1 - part) * np.array([0.15, 0.35, 0.95], np.float32)) * np.array([[1.0], [0.6]], np.float32)
    colour = bright + (dark - bright) * tone[..., None]
    colour *= 1.05 - 0.18 * ((across + down) / np.float32(radius))[..., None]  # shading
    colour *= 0.45 + 0.55 * np.clip(-distance / 1.5, 0, 1)[..., None]  # a dark outline of 1.5 pixels
    window += (colour - window) * np.clip(0.5 - distance, 0, 1)[..., None]


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
