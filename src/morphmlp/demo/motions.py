"""Rendered clips to start from: many kinds of motion before changing backdrops, for weights that know movement.

Where the demo's scenes are one small world, these are drawn as differently as the renderer can: things, sizes, speeds,
lengths, frame rates, cameras, light, occlusion. A class is what moves how, and in which order; all else is chance. Most
classes come in pairs that are each other's reverse in time, so no single frame tells them apart.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from morphmlp.demo.scenes import PATTERNS, SHAPES, Thing, paint, smooth_noise, two_tones, wander

Progress = np.ndarray  # how much of the event is over, from 0 to 1, [T]


@dataclass(frozen=True)
class Scene:
    """What acts, and what the camera does; lengths in short sides of the frame.

    Attributes:
        actors: the things that the class is about.
        camera: how far the camera has moved to the right and down, [T, 2].
        light: factor on the brightness of all, [T]; empty for none.
        hiding: whether a thing that stays in front of the actors is a part of the event.
    """

    actors: list[Thing]
    camera: np.ndarray | None = None
    light: np.ndarray | None = None
    hiding: Thing | None = None


Event = Callable[[np.random.Generator, Progress], Scene]


def _actor(generator: np.random.Generator, progress: Progress, **curves: np.ndarray | float | str) -> Thing:
    """A thing in the middle of the picture that is as it is until a curve says otherwise."""
    still = {
        "x": generator.uniform(-0.15, 0.15),
        "y": generator.uniform(-0.15, 0.15),
        "radius": generator.uniform(0.1, 0.22),
        "angle": generator.uniform(-np.pi, np.pi) + generator.uniform(-0.3, 0.3) * progress,
        "opening": np.pi,
        "aspect": np.exp(generator.uniform(-0.2, 0.2)),
    }
    names = {name: curves.pop(name) for name in ("shape", "pattern") if name in curves}
    arrays = {
        name: np.broadcast_to(np.asarray(value, dtype=float), progress.shape).copy()
        for name, value in (still | curves).items()
    }
    return Thing(
        **arrays,
        shape=str(names.get("shape", generator.choice(SHAPES))),
        pattern=str(names.get("pattern", generator.choice(PATTERNS))),
        colours=two_tones(generator, saturation=generator.uniform(0.2, 0.95), value=generator.uniform(0.45, 1.0)),
    )


def _travel(direction: float) -> Event:
    """One thing crosses the picture, its direction within a sixth of a right angle of the one that is named."""

    def event(generator: np.random.Generator, progress: Progress) -> Scene:
        angle = direction + generator.uniform(-0.26, 0.26)
        way = (progress - 0.5) * generator.uniform(0.35, 0.8)
        x, y = generator.uniform(-0.15, 0.15, 2)
        return Scene([_actor(generator, progress, x=x + way * np.cos(angle), y=y + way * np.sin(angle))])

    return event


def _turned(first: float, second: float) -> Event:
    """One way first, then another."""

    def event(generator: np.random.Generator, progress: Progress) -> Scene:
        length = generator.uniform(0.3, 0.5)
        early, late = np.clip(2 * progress, 0, 1) - 0.5, np.clip(2 * progress - 1, 0, 1) - 0.5
        x = length * (early * np.cos(first) + late * np.cos(second)) + generator.uniform(-0.1, 0.1)
        y = length * (early * np.sin(first) + late * np.sin(second)) + generator.uniform(-0.1, 0.1)
        return Scene([_actor(generator, progress, x=x, y=y)])

    return event


def _approaching(generator: np.random.Generator, progress: Progress) -> Scene:
    return Scene([_actor(generator, progress, radius=generator.uniform(0.06, 0.1) * generator.uniform(2.2, 3.8) ** progress)])


def _meeting(generator: np.random.Generator, progress: Progress) -> Scene:
    direction, far, near = generator.uniform(-np.pi, np.pi), generator.uniform(0.28, 0.42), generator.uniform(0.08, 0.14)
    centre, away = generator.uniform(-0.1, 0.1, 2), far + (near - far) * progress
    return Scene(
        [
            _actor(
                generator,
                progress,
                x=centre[0] + side * away * np.cos(direction),
                y=centre[1] + side * away * np.sin(direction),
                radius=generator.uniform(0.07, 0.14),
            )
            for side in (-1, 1)
        ]
    )


def _opening(generator: np.random.Generator, progress: Progress) -> Scene:
    narrow, wide = generator.uniform(0.1, 0.5), generator.uniform(1.8, 3.0)
    radius = generator.uniform(0.18, 0.34)
    return Scene([_actor(generator, progress, opening=narrow + (wide - narrow) * progress, radius=radius, shape="disc")])


def _spinning(generator: np.random.Generator, progress: Progress) -> Scene:
    """It turns clockwise on the spot by a third of a turn to one and a half."""
    angle = generator.uniform(-np.pi, np.pi) + generator.uniform(2, 9) * progress
    pattern, shape = str(generator.choice(["stripes", "checks", "rays"])), str(generator.choice(["square", "flower", "bar"]))
    return Scene([_actor(generator, progress, angle=angle, pattern=pattern, shape=shape, radius=generator.uniform(0.16, 0.3))])


def _orbiting(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing goes clockwise around a point, where another may be."""
    angle, reach = generator.uniform(-np.pi, np.pi) + generator.uniform(2.5, 7) * progress, generator.uniform(0.18, 0.34)
    centre = generator.uniform(-0.1, 0.1, 2)
    mover = _actor(
        generator,
        progress,
        x=centre[0] + reach * np.cos(angle),
        y=centre[1] + reach * np.sin(angle),
        radius=generator.uniform(0.06, 0.12),
    )
    middle = _actor(generator, progress, x=centre[0], y=centre[1], radius=generator.uniform(0.06, 0.1))
    return Scene([mover, middle][: generator.integers(1, 3)])


def _spiralling(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing winds its way inwards, in either sense."""
    turn = generator.choice([-1, 1]) * generator.uniform(4, 9)
    angle, reach = generator.uniform(-np.pi, np.pi) + turn * progress, generator.uniform(0.3, 0.42) * (1 - 0.85 * progress)
    return Scene([_actor(generator, progress, x=reach * np.cos(angle), y=reach * np.sin(angle), radius=generator.uniform(0.06, 0.12))])


def _stretching(upright: bool) -> Event:
    def event(generator: np.random.Generator, progress: Progress) -> Scene:
        growth = generator.uniform(1.0, 1.7)
        aspect = np.exp((progress - 0.5) * growth * (-1 if upright else 1))
        lean = generator.uniform(-0.25, 0.25)
        return Scene([_actor(generator, progress, aspect=aspect, angle=lean, shape=str(generator.choice(["disc", "square", "ring"])))])

    return event


def _flapping(times: int) -> Event:
    """It opens upright and shuts again, like a mouth, so many times."""

    def event(generator: np.random.Generator, progress: Progress) -> Scene:
        wide = generator.uniform(0.7, 1.1)
        aspect = np.exp(wide - generator.uniform(0.9, 1.6) * np.sin(np.pi * times * progress) ** 2)
        shape = str(generator.choice(["disc", "ring", "square"]))
        return Scene([_actor(generator, progress, aspect=aspect, angle=generator.uniform(-0.3, 0.3), shape=shape, radius=generator.uniform(0.16, 0.3))])

    return event


def _appearing(generator: np.random.Generator, progress: Progress) -> Scene:
    when, quick = generator.uniform(0.35, 0.65), generator.uniform(4, 16)
    radius = generator.uniform(0.1, 0.24) * np.clip(0.5 + quick * (progress - when), 0.01, 1)
    return Scene([_actor(generator, progress, radius=radius)])


def _speeding(generator: np.random.Generator, progress: Progress) -> Scene:
    """In any direction, slowly first and then quickly."""
    angle, way = generator.uniform(-np.pi, np.pi), (progress ** generator.uniform(2.5, 4.5) - 0.5) * generator.uniform(0.5, 0.8)
    return Scene([_actor(generator, progress, x=way * np.cos(angle), y=way * np.sin(angle))])


def _splitting(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing becomes two alike."""
    angle, away = generator.uniform(-np.pi, np.pi), np.clip(progress - 0.3, 0, 1) * generator.uniform(0.35, 0.55)
    one = _actor(generator, progress, radius=generator.uniform(0.1, 0.15))
    return Scene([replace(one, x=one.x + side * away * np.cos(angle), y=one.y + side * away * np.sin(angle)) for side in (-1, 1)])


def _bouncing(generator: np.random.Generator, progress: Progress) -> Scene:
    """It falls and bounces, each time less high."""
    bounces = generator.uniform(2.2, 3.5)
    height = generator.uniform(0.4, 0.6) * np.abs(np.cos(np.pi * bounces * progress)) * np.exp(-2.2 * progress)
    drift = generator.uniform(-0.3, 0.3)
    return Scene([_actor(generator, progress, x=drift * (progress - 0.5), y=0.28 - height, radius=generator.uniform(0.07, 0.13))])


def _warming(generator: np.random.Generator, progress: Progress) -> Scene:
    """The colour of a thing goes from blue to red."""
    thing = _actor(generator, progress, radius=generator.uniform(0.15, 0.28))
    return Scene([replace(thing, tint=progress)])


def _brightening(generator: np.random.Generator, progress: Progress) -> Scene:
    low, high = generator.uniform(0.25, 0.5), generator.uniform(0.95, 1.15)
    return Scene([_actor(generator, progress)], light=low + (high - low) * progress)


def _panning(direction: float) -> Event:
    """The camera turns, so that all there is moves the other way."""

    def event(generator: np.random.Generator, progress: Progress) -> Scene:
        way = (progress - 0.5) * generator.uniform(0.3, 0.6)
        camera = np.stack([way * np.cos(direction), way * np.sin(direction)], axis=1)
        return Scene([_actor(generator, progress) for _ in range(generator.integers(0, 3))], camera=camera)

    return event


def _catching_up(generator: np.random.Generator, progress: Progress) -> Scene:
    """Two things go the same way, in any direction; the one at the back comes closer to the other."""
    angle, gap = generator.uniform(-np.pi, np.pi), generator.uniform(0.35, 0.5) * (1 - 0.75 * progress)
    front = (progress - 0.5) * generator.uniform(0.25, 0.45) + 0.12
    return Scene(
        [
            _actor(generator, progress, x=way * np.cos(angle), y=way * np.sin(angle), radius=generator.uniform(0.07, 0.12))
            for way in (front, front - gap)
        ]
    )


def _hiding(generator: np.random.Generator, progress: Progress) -> Scene:
    """A thing moves until something in front of it covers it."""
    angle, way = generator.uniform(-np.pi, np.pi), (1 - progress) * generator.uniform(0.35, 0.5)
    x, y = generator.uniform(-0.1, 0.1, 2)
    mover = _actor(generator, progress, x=x + way * np.cos(angle), y=y + way * np.sin(angle), radius=generator.uniform(0.07, 0.12))
    return Scene([mover], hiding=_actor(generator, progress, x=x, y=y, radius=generator.uniform(0.2, 0.26), shape="square", aspect=1.0))


def _opened_and_moved(generator: np.random.Generator, progress: Progress) -> Scene:
    """A fan opens, then moves, in any direction."""
    angle, way = generator.uniform(-np.pi, np.pi), (np.clip(2 * progress - 1, 0, 1) - 0.5) * generator.uniform(0.35, 0.55)
    opening = 0.3 + 2.3 * np.clip(2 * progress, 0, 1)
    return Scene([_actor(generator, progress, x=way * np.cos(angle), y=way * np.sin(angle), opening=opening, shape="disc", radius=generator.uniform(0.14, 0.2))])


def _swinging(direction: float) -> Event:
    """To and fro along a line, one and a half times to three and a half."""

    def event(generator: np.random.Generator, progress: Progress) -> Scene:
        phase = generator.uniform(-np.pi, np.pi)
        way = generator.uniform(0.12, 0.28) * np.sin(2 * np.pi * generator.uniform(1.5, 3.5) * progress + phase)
        return Scene([_actor(generator, progress, x=way * np.cos(direction), y=way * np.sin(direction))])

    return event


def _pulsing(generator: np.random.Generator, progress: Progress) -> Scene:
    beat = 1 + 0.45 * np.sin(2 * np.pi * generator.uniform(1.5, 3.5) * progress + generator.uniform(-np.pi, np.pi))
    return Scene([_actor(generator, progress, radius=generator.uniform(0.13, 0.2) * beat)])


def _swapping(generator: np.random.Generator, progress: Progress) -> Scene:
    """Two things take each other's place, around each other."""
    angle, reach = generator.uniform(-np.pi, np.pi) + np.pi * generator.choice([-1, 1]) * progress, generator.uniform(0.2, 0.32)
    return Scene(
        [
            _actor(generator, progress, x=side * reach * np.cos(angle), y=side * reach * np.sin(angle), radius=generator.uniform(0.08, 0.13))
            for side in (-1, 1)
        ]
    )


def _resting(generator: np.random.Generator, progress: Progress) -> Scene:
    return Scene([_actor(generator, progress) for _ in range(generator.integers(1, 3))])


def _trembling(generator: np.random.Generator, progress: Progress) -> Scene:
    x, y = generator.normal(0, generator.uniform(0.02, 0.05), (2, len(progress)))
    return Scene([_actor(generator, progress, x=generator.uniform(-0.15, 0.15) + x, y=generator.uniform(-0.15, 0.15) + y)])


RIGHT, DOWN, LEFT, UP = 0.0, np.pi / 2, np.pi, -np.pi / 2
_PAIRS: tuple[tuple[str, str, Event], ...] = (  # a class, its reverse in time, the event of the first
    ("right", "left", _travel(RIGHT)),
    ("up", "down", _travel(UP)),
    ("up_right", "down_left", _travel(-np.pi / 4)),
    ("up_left", "down_right", _travel(-3 * np.pi / 4)),
    ("right_then_up", "down_then_left", _turned(RIGHT, UP)),
    ("left_then_up", "down_then_right", _turned(LEFT, UP)),
    ("right_then_down", "up_then_left", _turned(RIGHT, DOWN)),
    ("left_then_down", "up_then_right", _turned(LEFT, DOWN)),
    ("approaching", "receding", _approaching),
    ("meeting", "parting", _meeting),
    ("opening", "closing", _opening),
    ("spinning_clockwise", "spinning_anticlockwise", _spinning),
    ("orbiting_clockwise", "orbiting_anticlockwise", _orbiting),
    ("spiralling_inwards", "spiralling_outwards", _spiralling),
    ("growing_tall", "growing_flat", _stretching(upright=True)),
    ("growing_wide", "growing_narrow", _stretching(upright=False)),
    ("appearing", "disappearing", _appearing),
    ("speeding_up", "slowing_down", _speeding),
    ("splitting", "merging", _splitting),
    ("bouncing_less", "bouncing_more", _bouncing),
    ("warming", "cooling", _warming),
    ("brightening", "darkening", _brightening),
    ("panning_right", "panning_left", _panning(RIGHT)),
    ("panning_down", "panning_up", _panning(DOWN)),
    ("catching_up", "falling_behind", _catching_up),
    ("hiding", "coming_out", _hiding),
    ("opening_then_moving", "moving_then_closing", _opened_and_moved),
)
_ALONE: tuple[tuple[str, Event], ...] = (  # in reverse they are the same
    ("flapping_once", _flapping(1)),
    ("flapping_twice", _flapping(2)),
    ("flapping_three_times", _flapping(3)),
    ("swinging_sideways", _swinging(RIGHT)),
    ("swinging_upright", _swinging(UP)),
    ("pulsing", _pulsing),
    ("swapping", _swapping),
    ("resting", _resting),
    ("trembling", _trembling),
)
_EVENTS: dict[str, tuple[Event, bool]] = {
    **{name: (event, backwards) for one, other, event in _PAIRS for name, backwards in ((one, False), (other, True))},
    **{name: (event, False) for name, event in _ALONE},
}
MOTIONS: tuple[str, ...] = tuple(_EVENTS)


def render_motion(motion: str, generator: np.random.Generator) -> np.ndarray:
    """One clip of a motion, uint8 RGB [T, H, W, 3], of 8 to 32 frames and 64 to 112 px a side."""
    event, backwards = _EVENTS[motion]
    num_frames = int(generator.integers(8, 33))
    height, width = (2 * int(side) for side in generator.integers(32, 57, 2))
    progress = _progress(generator, num_frames)
    scene = event(generator, progress)
    clip = _draw(scene, generator, num_frames=num_frames, size=(height, width))
    return clip[::-1].copy() if backwards else clip


def _progress(generator: np.random.Generator, num_frames: int) -> Progress:
    """A rest of up to a quarter of the clip, the event at a pace that may change, a rest."""
    begin, end = generator.uniform(0.0, 0.25), generator.uniform(0.75, 1.0)
    linear = np.clip((np.linspace(0, 1, num_frames) - begin) / (end - begin), 0, 1)
    ease = generator.uniform(0, 0.8)
    return (1 - ease) * linear + ease * linear**2 * (3 - 2 * linear)


def _draw(scene: Scene, generator: np.random.Generator, *, num_frames: int, size: tuple[int, int]) -> np.ndarray:
    short_side = min(size)
    time = np.linspace(0, 1, num_frames)
    shake = wander(generator, time, channels=2) * generator.choice([0.0, 0.01, 0.03])
    camera = (shake if scene.camera is None else shake + scene.camera) * short_side  # pixels
    reach = int(np.abs(camera).max()) + 2
    backdrop = _backdrop(generator, size=(size[0] + 2 * reach, size[1] + 2 * reach), short_side=short_side)
    others = [_other(generator, num_frames) for _ in range(generator.integers(0, 5))]
    front = [thing for thing in (scene.hiding,) if thing is not None]
    if others and generator.random() < 0.5:
        front.append(others.pop())
    light = np.ones(num_frames) if scene.light is None else scene.light
    light = light * generator.uniform(0.75, 1.1) * (1 + generator.uniform(0, 0.08) * wander(generator, time, channels=1)[:, 0])
    clip = np.empty((num_frames, *size, 3), dtype=np.float32)
    for frame in range(num_frames):
        across, down = camera[frame]
        left, top = round(reach + across), round(reach + down)
        clip[frame] = backdrop[top : top + size[0], left : left + size[1]]
        centre = (size[1] / 2 - across, size[0] / 2 - down)
        for thing in [*others, *scene.actors, *front]:
            paint(clip[frame], thing, frame=frame, centre=centre, short_side=short_side)
    clip *= light[:, None, None, None].astype(np.float32)
    clip += generator.standard_normal(clip.shape, dtype=np.float32) * np.float32(generator.uniform(0.0, 0.05))
    if generator.random() < 0.2:
        clip = clip.mean(axis=3, keepdims=True) * generator.uniform(0.85, 1.0, 3).astype(np.float32)
    return (np.clip(clip, 0, 1) * 255 + 0.5).astype(np.uint8)


def _other(generator: np.random.Generator, num_frames: int) -> Thing:
    """Something that has nothing to do with the event; it may drift a little."""
    time = np.linspace(-0.5, 0.5, num_frames)
    direction, speed = generator.uniform(-np.pi, np.pi), generator.uniform(0, 0.15)
    return _actor(
        generator,
        time,
        x=generator.uniform(-0.7, 0.7) + speed * time * np.cos(direction),
        y=generator.uniform(-0.6, 0.6) + speed * time * np.sin(direction),
        radius=generator.uniform(0.03, 0.1),
    )


def _backdrop(generator: np.random.Generator, *, size: tuple[int, int], short_side: int) -> np.ndarray:
    """Between two and four tones mixed by noise of different grain, at times with an edge and with things; [H, W, 3]."""
    picture = np.zeros((*size, 3), dtype=np.float32)
    picture += two_tones(generator, saturation=generator.uniform(0, 0.6), value=generator.uniform(0.2, 0.9))[0]
    for _ in range(generator.integers(1, 4)):
        cell = short_side / np.exp(generator.uniform(0.5, 3.5, 2))
        tone = two_tones(generator, saturation=generator.uniform(0, 0.6), value=generator.uniform(0.2, 0.9))[0]
        mix = smooth_noise(generator, size=size, cell=(max(cell[0], 1.5), max(cell[1], 1.5)))[..., None]
        if generator.random() < 0.3:
            mix = (mix > 0.5).astype(float)
        picture += (tone - picture) * (mix * generator.uniform(0.3, 0.9))
    for _ in range(generator.integers(0, 8)):
        paint(picture, _other(generator, 1), frame=0, centre=(size[1] / 2, size[0] / 2), short_side=short_side)
    return picture.astype(np.float32)
