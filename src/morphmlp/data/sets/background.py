"""Clips from between the labelled stretches, as a class of their own: what is shown where nothing is labelled.

A clip is as long as one of the labelled stretches, drawn at random, and lies in a gap: between two stretches, before
the first or after the last one of a recording. It keeps a tenth of the median length away from them, as their edges are
seldom exact, and shares no frame with another clip.

Where clips are windows (`stretch_windows`), only their middle has to be in a gap. So the gaps are cut into pieces no
longer than the median stretch, of which as many are drawn: every moment of a gap, close to a stretch too, is as likely.
"""

import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from morphmlp.data.media.remote import RemoteFile
from morphmlp.data.media.stretches import Stretch, StretchUnit
from morphmlp.data.media.tar_members import TarMember
from morphmlp.data.sets.labelled import NO_LABEL, LabelledSet, Sample, joined_notes
from morphmlp.data.sets.recordings import by_recording, end_of
from morphmlp.errors import DataError, MediaError
from morphmlp.output import tell

NOTHING = "(nothing)"  # the class of what is between the labelled stretches

MARGIN = 0.1  # of the median length of the stretches
_MANY = 200  # recordings, whose headers take a while


@dataclass(frozen=True)
class Gap:
    """Part of a recording without a label, in its unit; the end is exclusive."""

    file: Path | RemoteFile | TarMember
    start: float
    end: float
    unit: StretchUnit


def with_background(
    part: LabelledSet,
    share: float,
    *,
    seed: int,
    origin: str | Path,
    beside: LabelledSet | None = None,
    moments: bool = False,
) -> LabelledSet:
    """The set with clips of class `NOTHING`, which are `share` of its samples, or as many as fit.

    The same set, share and seed give the same clips.

    Args:
        origin: what messages call the data.
        beside: the other part; its samples, clips of background too, are kept clear of.
        moments: the clips say where the middle of a window may lie.

    Raises:
        DataError: there are no stretches, or no gap is as long as the shortest of them.
    """
    if share == 0:
        return part
    stretches = [sample for sample in part.samples if isinstance(sample.path, Stretch)]
    if not stretches:
        raise DataError(
            f"{origin}: a background of {share:g} is drawn from between labelled stretches, but the samples are whole "
            f"{part.unit}; give a list with start and end, or leave out --background"
        )
    lengths = sorted(sample.path.end - sample.path.start for sample in stretches if isinstance(sample.path, Stretch))
    gaps, num_unread = find_gaps(part.samples, [*part.samples, *(beside.samples if beside else ())], lengths=lengths)
    wanted = round(share / (1 - share) * len(part.samples))
    generator = np.random.default_rng([seed, wanted])
    if moments:
        clips = draw_pieces(gaps, longest=statistics.median(lengths), count=wanted, generator=generator)
    else:
        clips = draw_clips(gaps, lengths, count=wanted, generator=generator)
    if not clips:
        raise DataError(
            f"{origin}: no gap between the labelled stretches is as long as the shortest of them, so that there is no "
            "background to draw; leave out --background"
        )
    classes = [*part.classes, *([NOTHING] if NOTHING not in part.classes and not part.multi_label else [])]
    label, labels = (NO_LABEL, ()) if part.multi_label else (classes.index(NOTHING), None)
    samples = [*part.samples, *(Sample(clip, label, labels=labels) for clip in sorted(clips, key=_place))]
    note = f"{len(clips)} clips between the stretches are of {'no class' if part.multi_label else f'class {NOTHING}'}"
    note += f"; {wanted - len(clips)} more did not fit" if len(clips) < wanted else ""
    note += f"; {num_unread} recordings cannot be read" if num_unread else ""
    return replace(part, samples=samples, classes=classes, named=True, note=joined_notes(part.note, note))


def find_gaps(
    samples: Sequence[Sample], labelled: Sequence[Sample], *, lengths: Sequence[float]
) -> tuple[list[Gap], int]:
    """The gaps in the recordings of `samples` that `labelled` leaves, and the number of recordings that have no end.

    A recording of 60 s with stretches from 10 to 20 and from 15 to 30 s has, with a margin of 1 s, the gaps 0 to 9 and
    31 to 60 s.

    Args:
        lengths: of the stretches, whose median the margin is a share of.
    """
    covering = by_recording(labelled)
    recordings = by_recording(samples)
    if len(recordings) > _MANY:
        tell(f"reads how long {len(recordings)} recordings are, to draw their background")
    gaps, num_unread, margin = [], 0, MARGIN * statistics.median(lengths)
    for path, group in recordings.items():
        sources = [sample.path for sample in covering[path]]
        parts = [source for source in sources if isinstance(source, Stretch)]
        if len(parts) < len(sources) or len({source.unit for source in parts}) != 1:
            continue  # all of it has a label, or times and frames cannot be compared
        file, unit = next(sample.path.file for sample in group if isinstance(sample.path, Stretch)), parts[0].unit
        try:
            end = end_of(file, unit)
        except MediaError:
            num_unread += 1
            continue
        edge = float(round(margin)) if unit == "frames" else margin
        spans = [(source.start, source.end) for source in parts]
        gaps += [Gap(file, *bounds, unit) for bounds in uncovered(spans, end=end, margin=edge)]
    return gaps, num_unread


def uncovered(spans: Sequence[tuple[float, float]], *, end: float, margin: float) -> list[tuple[float, float]]:
    """What is left of 0 to `end` without the spans and a margin on both sides of each.

    >>> uncovered([(10, 20), (15, 30)], end=60, margin=1)
    [(0.0, 9), (31, 60)]
    """
    found, at = [], 0.0
    for start, stop in sorted(spans):
        if start - margin > at:
            found.append((at, min(start - margin, end)))
        at = max(at, stop + margin)
    if at < end:
        found.append((at, end))
    return [(start, stop) for start, stop in found if start < stop]


def draw_clips(
    gaps: Sequence[Gap], lengths: Sequence[float], *, count: int, generator: np.random.Generator
) -> list[Stretch]:
    """Up to `count` clips in the gaps, as long as one of `lengths` each, of which none shares a frame with another.

    Every place where a clip fits is equally likely. What is left of a gap on both sides of a clip are two gaps. Where a
    length fits nowhere, one is drawn from those that do.
    """
    free, clips = list(gaps), []
    ordered = np.sort(np.asarray(lengths, dtype=float))
    while len(clips) < count:
        longest = max((gap.end - gap.start for gap in free), default=0.0)
        fitting = int(np.searchsorted(ordered, longest, side="right"))
        if fitting == 0:
            break
        length = float(ordered[generator.integers(fitting)])
        if not 0 < length <= longest:
            break
        rooms = np.array([max(gap.end - gap.start - length, -1.0) for gap in free])
        weights = np.where(rooms >= 0, rooms + 1e-9, 0.0)
        chosen = int(generator.choice(len(free), p=weights / weights.sum()))
        gap = free.pop(chosen)
        start = _start_within(gap, length, generator)
        clips.append(Stretch(gap.file, start, start + length, gap.unit))
        rest = [(gap.start, start), (start + length, gap.end)]
        free += [Gap(gap.file, a, b, gap.unit) for a, b in rest if b - a >= ordered[0]]
    return clips


def draw_pieces(gaps: Sequence[Gap], *, longest: float, count: int, generator: np.random.Generator) -> list[Stretch]:
    """Up to `count` of the pieces into which the gaps are cut: each gap into the fewest equal ones up to `longest`.

    A gap from 2 to 3.2 s makes two pieces of 0.6 s where the longest may have 0.7 s. In frames, the edges are rounded.
    """
    num_pieces = np.array([math.ceil((gap.end - gap.start) / longest) for gap in gaps], dtype=int)
    firsts = np.cumsum(num_pieces) - num_pieces  # of each gap, among all pieces; of these there may be millions
    drawn = generator.permutation(num_pieces.sum())[:count]
    places = np.searchsorted(firsts, drawn, side="right") - 1
    cuts = zip(places.tolist(), (drawn - firsts[places]).tolist(), num_pieces[places].tolist(), strict=True)
    return [piece for place, number, of in cuts if (piece := _piece(gaps[place], number, of)) is not None]


def _piece(gap: Gap, number: int, of: int) -> Stretch | None:
    """A piece of a gap that is cut into `of`; None where no whole frame is left of it."""
    width = (gap.end - gap.start) / of
    digits = 0 if gap.unit == "frames" else 3  # milliseconds, which are short to write
    start, end = (round(float(gap.start + edge * width), digits) for edge in (number, number + 1))
    return Stretch(gap.file, start, end, gap.unit) if start < end else None


def _start_within(gap: Gap, length: float, generator: np.random.Generator) -> float:
    """Where a clip starts, so that it ends within the gap; in frames a whole number."""
    if gap.unit == "frames":
        return float(generator.integers(int(gap.start), int(gap.end - length) + 1))
    room = gap.end - gap.start - length
    start = gap.start + room * generator.random()
    return min(np.ceil(start * 1000) / 1000, gap.start + room)  # milliseconds, which are short to write


def _place(clip: Stretch) -> tuple[str, float]:
    return os.fspath(clip), clip.start
