"""What was watched as a picture (PNG) or a page (HTML): frames, segments and probabilities over time.

What is kept for it does not grow with a stream that never ends: of ever more windows, ever fewer are kept.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

from morphmlp.display.timeline import MOST_CURVES, Timeline, draw_timeline, write_timeline_page
from morphmlp.errors import ConfigError
from morphmlp.files import require_replaceable
from morphmlp.tasks.classification.timeline.outputs import Recordings, file_name, stem_of, unique_names
from morphmlp.tasks.classification.timeline.segments import WindowScores

FRAMES_SHOWN = 12
_FEWEST_CURVES = 5
_HEIGHT = 120  # px of a frame that is kept
PAGE = "timeline.html"

T = TypeVar("T")


class Thinned(Generic[T]):
    """At most so many of the values that come, evenly spaced over all of them; the first is always among them.

    With `most=4`, of the values 0 to 6 the numbers 0, 2, 4 and 6 are kept: every second one since there were five.
    """

    def __init__(self, most: int):
        self.most, self.items = most, list[tuple[float, T]]()
        self._number, self._every = 0, 1

    @property
    def is_next_kept(self) -> bool:
        return self._number % self._every == 0

    def add(self, time_s: float, value: Callable[[], T]) -> None:
        """Takes the next value, which is made only if it is kept."""
        if self.is_next_kept:
            self.items.append((time_s, value()))
            if len(self.items) > self.most:
                self.items, self._every = self.items[::2], 2 * self._every
        self._number += 1


@dataclass
class Seen:
    """What a picture of a source needs, collected while its windows come.

    Attributes:
        frames: one from the middle of each window, small.
        probabilities: `[classes]` of each window.
        end_s: of the last window.
    """

    frames: Thinned[np.ndarray] = field(default_factory=lambda: Thinned(64))
    probabilities: Thinned[np.ndarray] = field(default_factory=lambda: Thinned(2_000))
    end_s: float = 0.0

    def add_frame(self, time_s: float, picture: np.ndarray) -> None:
        """Takes a frame, RGB [H, W, 3] uint8."""
        self.frames.add(time_s, lambda: _small(picture))

    def add_scores(self, window: WindowScores) -> None:
        self.probabilities.add((window.start_s + window.end_s) / 2, lambda: window.probabilities)
        self.end_s = window.end_s

    def strip(self) -> np.ndarray | None:
        """Frames `[T, H, W, 3]`, the one nearest to the middle of each T-th of the time; None where there is none."""
        if not self.frames.items:
            return None
        times_s = np.array([time_s for time_s, _ in self.frames.items])
        wanted = (np.arange(FRAMES_SHOWN) + 0.5) / FRAMES_SHOWN * self.end_s
        height, width = self.frames.items[0][1].shape[:2]
        nearest = [self.frames.items[int(np.abs(times_s - time_s).argmin())][1] for time_s in wanted]
        return np.stack([np.asarray(Image.fromarray(each).resize((width, height))) for each in nearest])


def _small(picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((max(1, round(_HEIGHT * image.width / image.height)), _HEIGHT)))


def require_picture(path: str | Path, *, num_sources: int) -> None:
    """What can be known of pictures before the work on them.

    Raises:
        ConfigError: a picture would be of several sources, or the ending is of no picture and no page.
        OSError: no file can be written there.
    """
    ending = Path(path).suffix.lower()
    if ending in (".png", ".html"):
        if ending == ".png" and num_sources > 1:
            raise ConfigError(f"--picture {path} is for one source; give a folder or a .html file for {num_sources}")
        require_replaceable(path)
        return
    if os.path.isfile(path):
        raise ConfigError(f"--picture {path} is a file; give a folder, or a file that ends in .png or .html")
    if ending and not os.path.isdir(path):
        raise ConfigError(
            f"--picture {path}: its ending names no picture; give .png, .html, or a folder, which is a name without "
            "ending or one that is there"
        )
    require_replaceable(Path(path) / PAGE)


def write_pictures(
    path: str | Path,
    recordings: Recordings,
    seen: Mapping[str, Seen],
    *,
    labels: Sequence[str],
    threshold: float | None,
) -> list[Path]:
    """Writes a picture of one source (.png), a page of all (.html), or into a folder a picture of each and the page."""
    path = Path(path)
    timelines = {
        name: _timeline(name, recordings, seen[name], labels=labels, threshold=threshold)
        for name in recordings
        if name in seen and seen[name].end_s > 0
    }
    if not timelines:
        return []
    if path.suffix.lower() == ".png":
        draw_timeline(path, next(iter(timelines.values())))
        return [path]
    written, page = [], path
    if path.suffix.lower() != ".html":
        names = unique_names({name: file_name(stem_of(name)) for name in timelines})
        written, page = [path / f"{names[name]}.png" for name in timelines], path / PAGE
        for picture, timeline in zip(written, timelines.values(), strict=True):
            draw_timeline(picture, timeline)
    write_timeline_page(page, list(timelines.values()), title="What happens when")
    return [*written, page]


def _timeline(
    name: str, recordings: Recordings, seen: Seen, *, labels: Sequence[str], threshold: float | None
) -> Timeline:
    """The curves are those of the labels that last longest in the segments, then of those that are most probable."""
    probabilities = np.stack([values for _, values in seen.probabilities.items])
    lasts_s = dict.fromkeys(labels, 0.0)
    for segment in recordings[name]:
        lasts_s[segment.label] += segment.duration_s
    highest = probabilities.max(axis=0)
    order = sorted(range(len(labels)), key=lambda index: (-lasts_s[labels[index]], -highest[index]))
    num_found = sum(map(bool, lasts_s.values()))
    best = order[: min(MOST_CURVES, max(num_found, _FEWEST_CURVES))]
    return Timeline(
        title=name,
        duration_s=seen.end_s,
        rows={"segments": recordings[name]},
        times_s=np.array([time_s for time_s, _ in seen.probabilities.items]),
        scores={labels[index]: probabilities[:, index] for index in best},
        threshold=threshold,
        frames=seen.strip(),
    )
