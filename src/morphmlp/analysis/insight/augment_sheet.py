"""A sheet of augmented clips: what a recipe's random changes make of videos or images, before training is started.

Each video has a row of its plain frames and a row for each draw, with the drawn changes as text beside it. Mixup and
cutmix are left out: they join clips of different videos.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from morphmlp.config import AugmentConfig, InputConfig
from morphmlp.data.batches.loaders import random_indices
from morphmlp.data.clips.augment import training_clip
from morphmlp.data.clips.flips import mirrored_classes
from morphmlp.data.clips.rand_augment import draw_steps
from morphmlp.data.clips.seen import seen_frames
from morphmlp.data.media.sources import Source, media_kind, part_of
from morphmlp.data.media.video import read_clip
from morphmlp.data.sets.list_rows import LIST_SUFFIXES
from morphmlp.data.sets.read import read_set
from morphmlp.display.film_strip import film_strip
from morphmlp.display.style import INK, MUTED, drawable, figure
from morphmlp.errors import ConfigError, DataError
from morphmlp.recipes import load_recipe

DEFAULT_RECIPES = {"video": "k400_s16", "image": "imagenet_s"}
_ROW_HEIGHT, _GAP, _MARGIN, _TEXT_WIDTH, _COLUMNS = 112, 8, 24, 400, 8  # pixels, but for the columns


@dataclass(frozen=True)
class SheetRow:
    """A clip as a model sees it, or a plain one: uint8 `[T, H, W, 3]` in RGB, and the lines of text beside it."""

    frames: np.ndarray
    lines: list[str]


def pick_samples(path: Path, *, most: int) -> list[tuple[Source, str]]:
    """At most so many videos, images or stretches of a list, evenly spread, with their classes; or `pick_media`.

    Raises:
        DataError: a list cannot be used, or a folder holds no videos or images.
    """
    if path.is_dir() or media_kind(path) is not None or path.suffix.lower() not in LIST_SUFFIXES:
        return [(file, file.absolute().parent.name) for file in pick_media(path, most=most)]
    found = read_set(path)
    return [(sample.path, found.classes[sample.label]) for sample in _spread(found.samples, most)]


def pick_media(path: Path, *, most: int) -> list[Path]:
    """The file itself, or at most so many videos and images, evenly spread over all below a folder.

    Raises:
        DataError: the folder holds none.
    """
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if media_kind(file) is not None and not file.name.startswith("."))
    if not found:
        raise DataError(f"{path} holds no videos or images; give a file, or a folder that holds some")
    return _spread(found, most)


def _spread(found: Sequence[Any], most: int) -> list[Any]:
    return [found[i] for i in np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int)]


def sheet_rows(
    media: Sequence[Source],
    *,
    classes: Sequence[str],
    recipe: str | None = None,
    changes: dict[str, Any] | None = None,
    draws: int = 6,
    seed: int = 0,
) -> list[SheetRow]:
    """For each video or image a plain row, and one for each draw of frames and changes; equal arguments, equal rows.

    Args:
        classes: the class of each of `media`.
        recipe: a packaged recipe or a YAML file; None takes the published one for videos or for images.
        changes: fields of `augment` that differ from the recipe's.

    Raises:
        ConfigError: the recipe does not exist or is for masks; a field is unknown, or its value is wrong.
        MediaError: a file cannot be read.
    """
    rows = []
    names = sorted(set(classes))
    mirrored = mirrored_classes(names)
    for number, (path, name) in enumerate(zip(media, classes, strict=True)):
        kind = media_kind(path) or "video"
        frames, config, augment = _settings(recipe or DEFAULT_RECIPES[kind], kind, changes or {})
        generator = np.random.default_rng([seed, number])
        sample = partial(random_indices, frames=frames, config=config, augment=augment, generator=generator)
        read = partial(read_clip, path, sample, stills=frames == 1, short_side=config.decode_size)
        pixels = read()
        size = f"{pixels.shape[2]} x {pixels.shape[1]} px" + (f", {len(pixels)} frames" if len(pixels) > 1 else "")
        rows.append(SheetRow(pixels, [_shown(path), name, size]))
        partner = mirrored[names.index(name)]
        for draw in range(draws):
            pixels = read() if draw else pixels  # the first draw is of the frames that are shown as they are
            clip_seed = int(generator.integers(2**62))
            clip = training_clip(pixels, config, augment, seed=clip_seed, may_flip=partner is not None)
            label = names[partner] if clip.flipped and partner is not None else name
            lines = [f"draw {draw + 1}" + (", flipped" if clip.flipped else ""), label]
            if augment.rand_augment is not None:
                lines += textwrap.wrap(_operations(augment.rand_augment, clip_seed), 58)
            rows.append(SheetRow(seen_frames(clip.clip[None], config), lines))
    return rows


def _shown(source: Source) -> str:
    return " ".join(part for part in (Path(source).name, part_of(source)) if part)


def parse_changes(texts: Sequence[str]) -> dict[str, Any]:
    """Values by name from `NAME=VALUE`.

    >>> parse_changes(["erase=1", "rand_augment=null"])
    {'erase': 1, 'rand_augment': None}

    Raises:
        ConfigError: there is no "=", or the value is no YAML.
    """
    changes = {}
    for text in texts:
        name, separator, value = text.partition("=")
        try:
            changes[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            separator = ""
        if not separator or not name:
            raise ConfigError(f"--change {text!r} cannot be read; allowed: NAME=VALUE, such as erase=1")
    return changes


def _settings(recipe: str, kind: str, changes: dict[str, Any]) -> tuple[int, InputConfig, AugmentConfig]:
    """Frames, input and augmentation of a recipe."""
    values = load_recipe(recipe)
    config = InputConfig.from_dict(values.get("input") or {})
    if config.fit == "whole":
        raise ConfigError(f"recipe {recipe} changes images together with their masks; give one for classification")
    of_images = kind == "image" or str(values.get("model", "")).startswith("morphmlp_image")
    frames = 1 if of_images else (values.get("arch") or {}).get("frames", 16)
    return frames, config, AugmentConfig.from_dict((values.get("augment") or {}) | changes)


def _operations(notation: str, seed: int) -> str:
    """What rand-augment drew for a clip: "rotate 21.3, color 1.6"."""
    steps = draw_steps(notation, fill=(0, 0, 0), seed=seed)
    texts = [" ".join([step.name, *(f"{value:.3g}" for value in step.arguments)]) for step in steps]
    return ", ".join(text.replace("_rel", "").replace("_", " ") for text in texts) or "no operation drawn"


def draw_augmented(rows: Sequence[SheetRow], png_path: str | Path) -> None:
    """Draws the rows one below the other: text, and up to 8 frames, evenly spread over time."""
    strips = [np.asarray(film_strip(row.frames, count=_COLUMNS, height=_ROW_HEIGHT)) for row in rows]
    width = 2 * _MARGIN + _TEXT_WIDTH + max(strip.shape[1] for strip in strips)
    height = 2 * _MARGIN + len(rows) * (_ROW_HEIGHT + _GAP) - _GAP
    with figure(png_path, (width / 100, height / 100), dpi=100, layout="none") as canvas:
        for number, (row, strip) in enumerate(zip(rows, strips, strict=True)):
            top = height - _MARGIN - number * (_ROW_HEIGHT + _GAP)  # counted from the lower edge
            canvas.figimage(strip, xo=_MARGIN + _TEXT_WIDTH, yo=top - _ROW_HEIGHT, origin="upper")
            for line, text in enumerate(row.lines):
                place = _MARGIN / width, (top - 6 - 21 * line) / height
                colour = INK if line == 0 else MUTED
                canvas.text(*place, drawable(text, longest=200), va="top", fontsize=9, color=colour)
