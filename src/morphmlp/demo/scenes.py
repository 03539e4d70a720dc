"""What the rendered videos show: things that act before a backdrop, with distractors, camera shake and noise.

The classes come in pairs that only the order of the frames tells apart; a clip of the second is one of the first with
its frames reversed.
"""

from collections.abc import Callable, Sequence

import numpy as np

from morphmlp.demo.painting import Thing, paint, smooth_noise, two_tones, wander


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


def _crop(backdrop: np.ndarray, *, shift: np.ndarray, margin: int, out: np.ndarray) -> None:
    """Copies the frame out of the backdrop, displaced by `shift` pixels (x, y), with linear interpolation."""
    height, width = out.shape[:2]
    (left, top), (part_x, part_y) = np.divmod(shift + margin, 1)
    window = backdrop[int(top) : int(top) + height + 1, int(left) : int(left) + width + 1]
    rows = window[:-1] * np.float32(1 - part_y) + window[1:] * np.float32(part_y)
    out[:] = rows[:, :-1] * np.float32(1 - part_x) + rows[:, 1:] * np.float32(part_x)
