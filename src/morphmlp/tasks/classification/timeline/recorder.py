"""Collects the segments of several sources while their windows come, and writes them to files."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from morphmlp.data.sets.background import NOTHING
from morphmlp.files import require_replaceable
from morphmlp.output import tell
from morphmlp.tasks.classification.predictor import Window
from morphmlp.tasks.classification.timeline.outputs import format_of, write_segments
from morphmlp.tasks.classification.timeline.pictures import Seen
from morphmlp.tasks.classification.timeline.segments import Segment, SegmentFinder, WindowScores


class Recorder:
    """The segments of sources, one source after the other; the files are written anew every `every_s` seconds.

    Attributes:
        recordings: the segments that are closed, by the name of each source.
        seen: what a picture of each source needs.

    Args:
        names: of all sources.
        files: to write to, each in the format that its ending names.
        threshold, low, shortest_s, core_s: see `SegmentFinder`.
        clock: seconds that pass.

    Raises:
        ConfigError: the ending of a file names no format, or a number is out of its range.
        OSError: no file can be written there.
    """

    def __init__(
        self,
        names: Sequence[str],
        labels: Sequence[str],
        files: Sequence[str | Path],
        *,
        threshold: float | None = None,
        low: float | None = None,
        shortest_s: float = 0.0,
        core_s: float | None = None,
        every_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        for file in files:
            format_of(file)
            require_replaceable(file)
        self.labels, self.threshold = labels, threshold
        self.recordings: dict[str, list[Segment]] = {name: [] for name in names}
        self.seen: dict[str, Seen] = {name: Seen() for name in names}
        self._files, self._every_s, self._clock, self._written_s = files, every_s, clock, clock()
        self._new_finder = lambda: SegmentFinder(
            labels, threshold=threshold, low=low, shortest_s=shortest_s, background=[NOTHING], core_s=core_s
        )
        self._name, self._finder = "", self._new_finder()

    def begin(self, name: str) -> None:
        """Goes on to the next source."""
        self._name, self._finder = name, self._new_finder()

    def add(self, window: Window) -> None:
        """Takes the next window of the source, and writes if it is time."""
        scores = WindowScores(window.start_s, window.end_s, window.prediction.probabilities)
        self.recordings[self._name] += self._finder.add(scores)
        self.seen[self._name].add_scores(scores)
        if self._clock() - self._written_s >= self._every_s:
            self._write_meanwhile()

    def _write_meanwhile(self) -> None:
        """Writes what there is so far; a disk that is full for a while does not end a watch of days."""
        try:
            self.write(open_ones=self._finder.open_segments)
        except OSError as error:
            tell(f"{error.filename}: cannot be written now ({error.strerror}); trying again in {self._every_s:g} s")

    def end(self) -> None:
        """The source is over, or nobody waits for more of it."""
        self.recordings[self._name] += self._finder.finish()
        self._finder = self._new_finder()

    @property
    def has_begun(self) -> bool:
        """Whether any window has come."""
        return any(seen.end_s > 0 for seen in self.seen.values())

    def write(self, *, open_ones: Sequence[Segment] = ()) -> None:
        """Writes all files; none before the first window of all, as that would replace an earlier result by nothing.

        Args:
            open_ones: segments of the source that still go on.
        """
        if not self.has_begun:
            return
        self._written_s = self._clock()
        recordings = self.recordings
        if open_ones:
            recordings = recordings | {self._name: [*recordings[self._name], *open_ones]}
        for file in self._files:
            write_segments(file, recordings)
