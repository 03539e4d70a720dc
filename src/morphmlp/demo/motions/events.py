"""The motions that have a direction in time: each in reverse is another one.

An event draws what it needs from a generator, and says what is where at each moment. What is not said is chance.
"""

from dataclasses import replace

import numpy as np

from morphmlp.demo.motions.things import Event, Progress, Scene, actor, any_direction, one_of, place


def travel(direction: float) -> Event:
    """One thing crosses the picture, its direction within a sixth of a right angle of the one that is named."""

    def event(generator: np.random.Generator, progress: Progress) -> Scene:
        angle = direction + generator.uniform(-0.26, 0.26)
        way = (progress - 0.5) * generator.uniform(0.35, 0.8)
        x, y = generator.uniform(-0.15, 0.15, 2)
        return Scene([actor(generator, progress, at=place(way, angle, x=x, y=y))])

    return event


def turned(first: float, second: float) -> Event:
    """One thing goes one way first, then another."""

    def event(generator: np.random.Generator, progress: Progress) -> Scene:
        length = generator.uniform(0.3, 0.5)
        early, late = np.clip(2 * progress, 0, 1) - 0.5, np.clip(2 * progress - 1, 0, 1) - 0.5
        x = length * (early * np.cos(first) + late * np.cos(second)) + generator.uniform(-0.1, 0.1)
        y = length * (early * np.sin(first) + late * np.sin(second)) + generator.uniform(-0.1, 0.1)
        return Scene([actor(generator, progress, at=(x, y))])

    return event


def approaching(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing grows."""
    radius = generator.uniform(0.06, 0.1) * generator.uniform(2.2, 3.8) ** progress
    return Scene([actor(generator, progress, radius=radius)])


def meeting(generator: np.random.Generator, progress: Progress) -> Scene:
    """Two things come closer to each other, in any direction."""
    direction, far = any_direction(generator), generator.uniform(0.28, 0.42)
    near = generator.uniform(0.08, 0.14)
    (x, y), away = generator.uniform(-0.1, 0.1, 2), far + (near - far) * progress
    sides = [place(side * away, direction, x=x, y=y) for side in (-1, 1)]
    return Scene([actor(generator, progress, radius=generator.uniform(0.07, 0.14), at=side) for side in sides])


def opening(generator: np.random.Generator, progress: Progress) -> Scene:
    """A fan opens."""
    narrow, wide = generator.uniform(0.1, 0.5), generator.uniform(1.8, 3.0)
    radius = generator.uniform(0.18, 0.34)
    return Scene([actor(generator, progress, opening=narrow + (wide - narrow) * progress, radius=radius, shape="disc")])


def spinning(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing turns clockwise on the spot, by a third of a turn to one and a half."""
    angle = any_direction(generator) + generator.uniform(2, 9) * progress
    pattern = one_of(generator, "stripes", "checks", "rays")
    shape = one_of(generator, "square", "flower", "bar")
    radius = generator.uniform(0.16, 0.3)
    return Scene([actor(generator, progress, angle=angle, pattern=pattern, shape=shape, radius=radius)])


def orbiting(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing goes clockwise around a point, where another may be."""
    angle = any_direction(generator) + generator.uniform(2.5, 7) * progress
    reach = generator.uniform(0.18, 0.34)
    x, y = generator.uniform(-0.1, 0.1, 2)
    mover = actor(generator, progress, radius=generator.uniform(0.06, 0.12), at=place(reach, angle, x=x, y=y))
    middle = actor(generator, progress, radius=generator.uniform(0.06, 0.1), at=(x, y))
    return Scene([mover, middle][: generator.integers(1, 3)])


def spiralling(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing winds its way inwards, in either sense."""
    turn = generator.choice([-1, 1]) * generator.uniform(4, 9)
    angle = any_direction(generator) + turn * progress
    reach = generator.uniform(0.3, 0.42) * (1 - 0.85 * progress)
    return Scene([actor(generator, progress, radius=generator.uniform(0.06, 0.12), at=place(reach, angle))])


def stretching(*, upright: bool) -> Event:
    """One thing becomes tall from being wide, or wide from being tall."""

    def event(generator: np.random.Generator, progress: Progress) -> Scene:
        growth = generator.uniform(1.0, 1.7)
        aspect = np.exp((progress - 0.5) * growth * (-1 if upright else 1))
        lean, shape = generator.uniform(-0.25, 0.25), one_of(generator, "disc", "square", "ring")
        return Scene([actor(generator, progress, aspect=aspect, angle=lean, shape=shape)])

    return event


def appearing(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing is there all of a sudden."""
    when, quick = generator.uniform(0.35, 0.65), generator.uniform(4, 16)
    radius = generator.uniform(0.1, 0.24) * np.clip(0.5 + quick * (progress - when), 0.01, 1)
    return Scene([actor(generator, progress, radius=radius)])


def speeding(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing goes slowly first and then quickly, in any direction."""
    angle = any_direction(generator)
    way = (progress ** generator.uniform(2.5, 4.5) - 0.5) * generator.uniform(0.5, 0.8)
    return Scene([actor(generator, progress, at=place(way, angle))])


def splitting(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing becomes two alike."""
    angle, away = any_direction(generator), np.clip(progress - 0.3, 0, 1) * generator.uniform(0.35, 0.55)
    one = actor(generator, progress, radius=generator.uniform(0.1, 0.15))
    x, y = away * np.cos(angle), away * np.sin(angle)
    return Scene([replace(one, x=one.x + side * x, y=one.y + side * y) for side in (-1, 1)])


def bouncing(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing falls and bounces, each time less high."""
    bounces = generator.uniform(2.2, 3.5)
    height = generator.uniform(0.4, 0.6) * np.abs(np.cos(np.pi * bounces * progress)) * np.exp(-2.2 * progress)
    x = generator.uniform(-0.3, 0.3) * (progress - 0.5)
    return Scene([actor(generator, progress, x=x, y=0.28 - height, radius=generator.uniform(0.07, 0.13))])


def warming(generator: np.random.Generator, progress: Progress) -> Scene:
    """The colour of a thing goes from blue to red."""
    thing = actor(generator, progress, radius=generator.uniform(0.15, 0.28))
    return Scene([replace(thing, tint=progress)])


def brightening(generator: np.random.Generator, progress: Progress) -> Scene:
    """It becomes light around a thing that rests."""
    low, high = generator.uniform(0.25, 0.5), generator.uniform(0.95, 1.15)
    return Scene([actor(generator, progress)], light=low + (high - low) * progress)


def panning(direction: float) -> Event:
    """The camera turns, so that all there is moves the other way."""

    def event(generator: np.random.Generator, progress: Progress) -> Scene:
        way = (progress - 0.5) * generator.uniform(0.3, 0.6)
        camera = np.stack([way * np.cos(direction), way * np.sin(direction)], axis=1)
        return Scene([actor(generator, progress) for _ in range(generator.integers(0, 3))], camera=camera)

    return event


def catching_up(generator: np.random.Generator, progress: Progress) -> Scene:
    """Two things go the same way, in any direction; the one at the back comes closer to the other."""
    angle, gap = any_direction(generator), generator.uniform(0.35, 0.5) * (1 - 0.75 * progress)
    front = (progress - 0.5) * generator.uniform(0.25, 0.45) + 0.12
    ways = [place(way, angle) for way in (front, front - gap)]
    return Scene([actor(generator, progress, radius=generator.uniform(0.07, 0.12), at=way) for way in ways])


def hiding(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing moves until something in front of it covers it."""
    angle, way = any_direction(generator), (1 - progress) * generator.uniform(0.35, 0.5)
    x, y = generator.uniform(-0.1, 0.1, 2)
    mover = actor(generator, progress, radius=generator.uniform(0.07, 0.12), at=place(way, angle, x=x, y=y))
    radius = generator.uniform(0.2, 0.26)
    return Scene([mover], hiding=actor(generator, progress, at=(x, y), radius=radius, shape="square", aspect=1.0))


def opening_then_moving(generator: np.random.Generator, progress: Progress) -> Scene:
    """A fan opens, and then moves in any direction."""
    angle = any_direction(generator)
    way = (np.clip(2 * progress - 1, 0, 1) - 0.5) * generator.uniform(0.35, 0.55)
    wide = 0.3 + 2.3 * np.clip(2 * progress, 0, 1)
    radius = generator.uniform(0.14, 0.2)
    return Scene([actor(generator, progress, opening=wide, shape="disc", radius=radius, at=place(way, angle))])
