"""Renders clips of many kinds of motion, before changing backdrops.

Where the demo's scenes are one small world, these are drawn as differently as the renderer can: things, sizes, speeds,
lengths, cameras, light, occlusion. A class is what moves how, and in which order; all else is chance. Most classes come
in pairs that are each other's reverse in time, so no single frame tells them apart.
"""

import numpy as np

from morphmlp.demo.motions import cycles, events
from morphmlp.demo.motions.things import DOWN, LEFT, RIGHT, UP, Event, Progress, Scene, actor, any_direction
from morphmlp.demo.painting import Thing, paint, smooth_noise, two_tones, wander
from morphmlp.errors import DataError

FRAMES, SIDES = (8, 32), (64, 112)  # the fewest and the most frames of a clip, and px of its sides

_PAIRS: tuple[tuple[str, str, Event], ...] = (  # a class, its reverse in time, the event of the first
    ("right", "left", events.travel(RIGHT)),
    ("up", "down", events.travel(UP)),
    ("up_right", "down_left", events.travel(-np.pi / 4)),
    ("up_left", "down_right", events.travel(-3 * np.pi / 4)),
    ("right_then_up", "down_then_left", events.turned(RIGHT, UP)),
    ("left_then_up", "down_then_right", events.turned(LEFT, UP)),
    ("right_then_down", "up_then_left", events.turned(RIGHT, DOWN)),
    ("left_then_down", "up_then_right", events.turned(LEFT, DOWN)),
    ("approaching", "receding", events.approaching),
    ("meeting", "parting", events.meeting),
    ("opening", "closing", events.opening),
    ("spinning_clockwise", "spinning_anticlockwise", events.spinning),
    ("orbiting_clockwise", "orbiting_anticlockwise", events.orbiting),
    ("spiralling_inwards", "spiralling_outwards", events.spiralling),
    ("growing_tall", "growing_flat", events.stretching(upright=True)),
    ("growing_wide", "growing_narrow", events.stretching(upright=False)),
    ("appearing", "disappearing", events.appearing),
    ("speeding_up", "slowing_down", events.speeding),
    ("splitting", "merging", events.splitting),
    ("bouncing_less", "bouncing_more", events.bouncing),
    ("warming", "cooling", events.warming),
    ("brightening", "darkening", events.brightening),
    ("panning_right", "panning_left", events.panning(RIGHT)),
    ("panning_down", "panning_up", events.panning(DOWN)),
    ("catching_up", "falling_behind", events.catching_up),
    ("hiding", "coming_out", events.hiding),
    ("opening_then_moving", "moving_then_closing", events.opening_then_moving),
)
_ALONE: dict[str, Event] = {  # in reverse they are the same
    "flapping_once": cycles.flapping(1),
    "flapping_twice": cycles.flapping(2),
    "flapping_three_times": cycles.flapping(3),
    "swinging_sideways": cycles.swinging(RIGHT),
    "swinging_upright": cycles.swinging(UP),
    "pulsing": cycles.pulsing,
    "swapping": cycles.swapping,
    "resting": cycles.resting,
    "trembling": cycles.trembling,
}
_REVERSES: dict[str, Event] = {reverse: event for _, reverse, event in _PAIRS}
_EVENTS: dict[str, Event] = {name: event for one, other, event in _PAIRS for name in (one, other)} | _ALONE
MOTIONS: tuple[str, ...] = tuple(_EVENTS)  # a clip's seed has their numbers, so new ones go to the end
REVERSED_MOTIONS: dict[str, str] = {name: MOTIONS[MOTIONS.index(name) ^ 1] for pair in _PAIRS for name in pair[:2]}


def render_motion(motion: str, generator: np.random.Generator) -> np.ndarray:
    """One clip of a motion, uint8 RGB [T, H, W, 3], of 8 to 32 frames, each side of 64 to 112 px and even.

    The two motions of a pair, from equal generators, are the same scene forwards and backwards.

    Raises:
        DataError: there is no such motion.

    >>> render_motion("approaching", np.random.default_rng(0)).shape
    (29, 94, 88, 3)
    """
    if motion not in _EVENTS:
        raise DataError(f"motion={motion!r} is unknown; known: {', '.join(MOTIONS)}")
    num_frames = int(generator.integers(*FRAMES, endpoint=True))
    height, width = (2 * int(half) for half in generator.integers(SIDES[0] // 2, SIDES[1] // 2, 2, endpoint=True))
    scene = _EVENTS[motion](generator, _progress(generator, num_frames))
    clip = _draw(scene, generator, num_frames=num_frames, size=(height, width))
    return clip[::-1].copy() if motion in _REVERSES else clip


def _progress(generator: np.random.Generator, num_frames: int) -> Progress:
    """A rest of up to a quarter of the clip, the event at a pace that may change, a rest."""
    begin, end = generator.uniform(0.0, 0.25), generator.uniform(0.75, 1.0)
    linear = np.clip((np.linspace(0, 1, num_frames) - begin) / (end - begin), 0, 1)
    ease = generator.uniform(0, 0.8)
    return (1 - ease) * linear + ease * linear**2 * (3 - 2 * linear)


def _draw(scene: Scene, generator: np.random.Generator, *, num_frames: int, size: tuple[int, int]) -> np.ndarray:
    """The scene before a backdrop, among things that have nothing to do with it; uint8 [T, H, W, 3]."""
    short_side, time = min(size), np.linspace(0, 1, num_frames)
    shake = wander(generator, time, channels=2) * generator.choice([0.0, 0.01, 0.03])
    camera = (shake if scene.camera is None else shake + scene.camera) * short_side  # px to the right and down
    reach = int(np.abs(camera).max()) + 2  # px of backdrop around the frame
    backdrop = _backdrop(generator, size=(size[0] + 2 * reach, size[1] + 2 * reach), short_side=short_side)
    others = [_other(generator, num_frames) for _ in range(generator.integers(0, 5))]
    front = [] if scene.hiding is None else [scene.hiding]
    if others and generator.random() < 0.5:
        front.append(others.pop())
    light = _light(scene, generator, time)
    clip = np.empty((num_frames, *size, 3), dtype=np.float32)
    for frame, (across, down) in enumerate(camera):
        left, top = round(reach + across), round(reach + down)
        clip[frame] = backdrop[top : top + size[0], left : left + size[1]]
        centre = (size[1] / 2 - across, size[0] / 2 - down)
        for thing in [*others, *scene.actors, *front]:
            paint(clip[frame], thing, frame=frame, centre=centre, short_side=short_side)
    clip *= light[:, None, None, None].astype(np.float32)
    return _recorded(clip, generator)


def _light(scene: Scene, generator: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """Factor on the brightness, [T]: any level, and it flickers a little."""
    light = np.ones_like(time) if scene.light is None else scene.light
    level, flicker = generator.uniform(0.75, 1.1), generator.uniform(0, 0.08)
    return light * level * (1 + flicker * wander(generator, time, channels=1)[:, 0])


def _recorded(clip: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """What a camera makes of it: noise, and one clip of five in one colour; uint8."""
    clip += generator.standard_normal(clip.shape, dtype=np.float32) * np.float32(generator.uniform(0.0, 0.05))
    if generator.random() < 0.2:
        clip = clip.mean(axis=3, keepdims=True) * generator.uniform(0.85, 1.0, 3).astype(np.float32)
    return (np.clip(clip, 0, 1) * 255 + 0.5).astype(np.uint8)


def _other(generator: np.random.Generator, num_frames: int) -> Thing:
    """Something that has nothing to do with the event; it may drift a little."""
    time = np.linspace(-0.5, 0.5, num_frames)
    direction, speed = any_direction(generator), generator.uniform(0, 0.15)
    return actor(
        generator,
        time,
        x=generator.uniform(-0.7, 0.7) + speed * time * np.cos(direction),
        y=generator.uniform(-0.6, 0.6) + speed * time * np.sin(direction),
        radius=generator.uniform(0.03, 0.1),
    )


def _backdrop(generator: np.random.Generator, *, size: tuple[int, int], short_side: int) -> np.ndarray:
    """Two to four tones mixed by noise of different grain, at times with edges and with things; [H, W, 3]."""
    picture = np.empty((*size, 3), dtype=np.float32)
    picture[:] = _tone(generator)
    for _ in range(generator.integers(1, 4)):
        cell = short_side / np.exp(generator.uniform(0.5, 3.5, 2))
        tone = _tone(generator)
        mix = smooth_noise(generator, size=size, cell=(max(cell[0], 1.5), max(cell[1], 1.5)))[..., None]
        if generator.random() < 0.3:
            mix = (mix > 0.5).astype(float)
        picture += (tone - picture) * (mix * generator.uniform(0.3, 0.9))
    for _ in range(generator.integers(0, 8)):
        paint(picture, _other(generator, 1), frame=0, centre=(size[1] / 2, size[0] / 2), short_side=short_side)
    return picture


def _tone(generator: np.random.Generator) -> np.ndarray:
    return two_tones(generator, saturation=generator.uniform(0, 0.6), value=generator.uniform(0.2, 0.9))[0]
