"""Clips of stretches as windows of one length, which is how long recordings are watched.

Whoever watches a recording sees windows that begin and end anywhere, and asks of each what happens in its middle. So
that is what is learned: a clip of a stretch is a window whose middle lies in the stretch, and what else it shows is
what comes before and after. One of `(nothing)` has its middle between the stretches.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from morphmlp.config.inputs import LEAST_WINDOW_S, MOST_WINDOW_S
from morphmlp.data.media.stretches import Stretch, StretchWindow
from morphmlp.data.media.video import probe
from morphmlp.data.sets.durations import median_duration_s
from morphmlp.data.sets.labelled import LabelledSet, Sample, joined_notes
from morphmlp.data.sets.recordings import RealPaths, end_of
from morphmlp.errors import DataError, MediaError
from morphmlp.output import tell

USUAL_SHARE = 2.0  # of the median stretch: wherever in a stretch its middle lies, such a window shows all of it
_MANY = 200  # recordings, whose headers take a while
_MOST_LOOKED_AT = 1_000  # stretches, for their median length


def window_length_s(window: float | None, samples: Sequence[Sample], *, origin: str | Path) -> float | None:
    """The seconds of a window: as given, or for 0 twice the median length of stretches; None for none.

    Stretches of 0.5, 0.7 and 3 s have windows of 1.4 s: what lies in the middle of such a window is seen as a whole.

    Args:
        samples: of the training.
        origin: what messages call the data.

    Raises:
        DataError: there are no stretches, or, where the length is asked for, none that can be read.
    """
    if window is None:
        return None
    stretches = [sample.path for sample in samples if isinstance(sample.path, Stretch)]
    if not stretches:
        raise DataError(
            f"{origin}: windows lie around labelled stretches, but the samples are whole files; give a list with start "
            "and end, or leave out --window"
        )
    if window > 0:
        return window
    median_s = median_duration_s(stretches, most=_MOST_LOOKED_AT)
    if median_s is None:
        raise DataError(
            f"{origin}: the stretches have no length in seconds that can be read; give it as --window SECONDS"
        )
    return min(max(round(USUAL_SHARE * median_s, 2), LEAST_WINDOW_S), MOST_WINDOW_S)


def with_windows(part: LabelledSet, length_s: float | None) -> LabelledSet:
    """The set whose clips of stretches are windows; what is a whole file stays one."""
    stretches = [sample.path for sample in part.samples if isinstance(sample.path, Stretch)]
    if length_s is None or not stretches:
        return part
    paths = RealPaths()
    recordings = {(paths.of(stretch), stretch.unit): stretch for stretch in stretches}
    if len(recordings) > _MANY:
        tell(f"reads how long {len(recordings)} recordings are, to place windows in them")
    windows = {place: _window(stretch, length_s) for place, stretch in recordings.items()}
    samples = [
        replace(sample, window=_if_within(sample.path, windows[paths.of(sample.path), sample.path.unit]))
        if isinstance(sample.path, Stretch)
        else sample
        for sample in part.samples
    ]
    note = f"a clip of a stretch is a window of {length_s:g} s whose middle lies in it"
    return replace(part, samples=samples, window_s=length_s, note=joined_notes(part.note, note))


def _window(stretch: Stretch, length_s: float) -> StretchWindow | None:
    """The window of a recording, in the unit of its stretches; None where it cannot be read, as the loader reports."""
    try:
        end = end_of(stretch.file, stretch.unit)
        if stretch.unit == "seconds":
            return StretchWindow(length_s, end)
        return StretchWindow(max(1.0, float(round(length_s * probe(stretch.file).fps))), end)
    except MediaError:
        return None


def _if_within(stretch: Stretch, window: StretchWindow | None) -> StretchWindow | None:
    """None for a stretch after the end, which must not be given a window before it: the loader refuses it."""
    return window if window is not None and stretch.start < window.end else None
