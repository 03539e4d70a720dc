"""The motions that are the same in reverse: they come back to where they began, or go nowhere."""

import numpy as np

from morphmlp.demo.motions.things import Event, Progress, Scene, actor, any_direction, one_of, place


def flapping(times: int) -> Event:
    """One thing opens upright and shuts again, like a mouth, so many times."""

    def event(generator: np.random.Generator, progress: Progress) -> Scene:
        wide = generator.uniform(0.7, 1.1)
        aspect = np.exp(wide - generator.uniform(0.9, 1.6) * np.sin(np.pi * times * progress) ** 2)
        shape, lean = one_of(generator, "disc", "ring", "square"), generator.uniform(-0.3, 0.3)
        radius = generator.uniform(0.16, 0.3)
        return Scene([actor(generator, progress, aspect=aspect, angle=lean, shape=shape, radius=radius)])

    return event


def swinging(direction: float) -> Event:
    """One thing goes to and fro along a line, one and a half times to three and a half."""

    def event(generator: np.random.Generator, progress: Progress) -> Scene:
        phase = generator.uniform(-np.pi, np.pi)
        way = generator.uniform(0.12, 0.28) * np.sin(2 * np.pi * generator.uniform(1.5, 3.5) * progress + phase)
        return Scene([actor(generator, progress, at=place(way, direction))])

    return event


def pulsing(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing grows and shrinks, one and a half times to three and a half."""
    cycles = 2 * np.pi * generator.uniform(1.5, 3.5) * progress
    beat = 1 + 0.45 * np.sin(cycles + generator.uniform(-np.pi, np.pi))
    return Scene([actor(generator, progress, radius=generator.uniform(0.13, 0.2) * beat)])


def swapping(generator: np.random.Generator, progress: Progress) -> Scene:
    """Two things take each other's place, around each other."""
    angle = any_direction(generator) + np.pi * generator.choice([-1, 1]) * progress
    reach = generator.uniform(0.2, 0.32)
    sides = [place(side * reach, angle) for side in (-1, 1)]
    return Scene([actor(generator, progress, radius=generator.uniform(0.08, 0.13), at=side) for side in sides])


def resting(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing or two stay where they are."""
    return Scene([actor(generator, progress) for _ in range(generator.integers(1, 3))])


def trembling(generator: np.random.Generator, progress: Progress) -> Scene:
    """One thing shakes on the spot."""
    x, y = generator.normal(0, generator.uniform(0.02, 0.05), (2, len(progress)))
    middle = generator.uniform(-0.15, 0.15, 2)
    return Scene([actor(generator, progress, at=(middle[0] + x, middle[1] + y))])
