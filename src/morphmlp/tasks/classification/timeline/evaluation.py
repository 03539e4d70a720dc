"""Evaluation over whole recordings: windows over each are predicted, and the segments found compared with the labelled.

The windows are stretches of the recordings, and go the way of any sample: loader, workers, batches. Neighbouring
windows decode what they share again; in return, processes under torchrun share them as they share videos.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from morphmlp.checkpoints.info import CheckpointInfo
from morphmlp.config import InputConfig
from morphmlp.data.batches.views import BrokenSample
from morphmlp.data.clips.windows import require_windows, usual_core_s, usual_windows, window_times
from morphmlp.data.media.sources import Source, file_of
from morphmlp.data.media.stretches import Stretch, past_end
from morphmlp.data.media.video import VideoInfo, probe
from morphmlp.data.sets.background import NOTHING
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.distributed import agreed, failing_together, is_main, process_group, rank, world_size
from morphmlp.errors import DataError, MediaError
from morphmlp.inference.device import AS_USUAL, Execution
from morphmlp.inference.runtimes import Runtime
from morphmlp.tasks.classification.prediction import (
    ViewProbabilities,
    in_order,
    input_for_test,
    make_test_loader,
    predict_samples,
    ready_classifier,
    views_for,
)
from morphmlp.tasks.classification.samples import labelled_samples
from morphmlp.tasks.classification.timeline.metrics import Recording
from morphmlp.tasks.classification.timeline.segments import (
    Segment,
    SegmentFinder,
    WindowScores,
    find_segments,
    usual_shortest_s,
    with_other_labels,
)

if TYPE_CHECKING:
    from torch import nn

    from morphmlp.models.morphmlp import MorphMLP


@dataclass(frozen=True)
class TimelineSettings:
    """How segments are found in a recording.

    Attributes:
        length_s, step_s: of the windows.
        threshold: see `SegmentFinder`; None or 0 takes the most probable label at every moment.
        shortest_s: segments that are shorter are dropped.
        low, core_s: see `SegmentFinder`.

    Raises:
        ConfigError: a number is out of its range.
    """

    length_s: float
    step_s: float
    threshold: float | None
    shortest_s: float
    low: float | None = None
    core_s: float | None = None

    def __post_init__(self):
        require_windows(self.length_s, self.step_s)
        SegmentFinder([], threshold=self.threshold, low=self.low, shortest_s=self.shortest_s)


def settings_for(
    model: "MorphMLP | Runtime",
    info: CheckpointInfo,
    *,
    length_s: float | None = None,
    step_s: float | None = None,
    threshold: float | None = None,
    low: float | None = None,
    shortest_s: float | None = None,
) -> TimelineSettings:
    """The settings that are given, and for the others what suits the checkpoint.

    The windows are those of `usual_windows`, what they are about is `usual_core_s`, and the shortest segment is
    `usual_shortest_s`. The threshold is that of the calibration.
    """
    length_s, step_s = usual_windows(
        length_s, step_s, config=info.input, frames=model.config.frames, training=info.training
    )
    core_s = usual_core_s(length_s, step_s, config=info.input)
    return TimelineSettings(
        length_s=length_s,
        step_s=step_s,
        threshold=info.threshold if threshold is None else threshold,
        shortest_s=usual_shortest_s(core_s) if shortest_s is None else shortest_s,
        low=low,
        core_s=core_s,
    )


@dataclass(frozen=True)
class WatchedRecording(Recording):
    """A recording with its windows, by their start; `note` says what is missing of it or of its labels."""

    source: Source = Path()
    windows: Sequence[WindowScores] = ()
    note: str | None = None


@dataclass(frozen=True)
class TimelineEvaluation:
    """What was found in the recordings of a labelled set; those that cannot be read are kept apart.

    Attributes:
        labels: class names in the order of the probabilities.
        broken: path and reason.
        note: how labels met classes where that was not by name; "" where it was.
    """

    labels: list[str]
    recordings: list[WatchedRecording]
    settings: TimelineSettings
    broken: list[tuple[Path, str]] = field(default_factory=list)
    note: str = ""


def evaluate_timelines(
    checkpoint: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    settings: Mapping[str, float | None] = MappingProxyType({}),
    num_clips: int | None = None,
    num_crops: int | None = None,
    aggregation: str | None = None,
    lists: dict[str, Any] | None = None,
    execution: Execution = AS_USUAL,
) -> TimelineEvaluation:
    """Watches the recordings whose stretches `data` names, from beginning to end.

    A row without times is a recording that shows one thing all the time.

    Args:
        settings: of `settings_for`.
        split, num_clips, num_crops, aggregation, lists: as in `evaluate_checkpoint`.

    Raises:
        CheckpointError, ConfigError, DataError: the data is of another kind than the model's, has other classes, or not
            one recording can be read.
    """
    ready = ready_classifier(checkpoint, execution)
    model, info, execution = ready.model, ready.info, ready.execution
    rule = settings_for(model, info, **settings)
    config = input_for_test(model, info, num_clips=num_clips, num_crops=num_crops, aggregation=aggregation)
    labelled = labelled_samples(data, split, lists or {}, model, info, checkpoint)
    if labelled.kind != "video":
        raise DataError(f"{data} holds {labelled.unit}, which have no timeline; leave out --timeline")
    with process_group():
        return watch_labelled(
            model,
            labelled,
            rule,
            config,
            num_frames=model.config.frames,
            temperature=info.temperature,
            execution=execution,
        )


def watch_labelled(
    model: "nn.Module | Runtime",
    labelled: LabelledSet,
    settings: TimelineSettings,
    config: InputConfig,
    *,
    num_frames: int,
    temperature: float = 1.0,
    execution: Execution = AS_USUAL,
) -> TimelineEvaluation:
    """Evaluates a model on the recordings that the samples of `labelled` are stretches of.

    All processes call it, and all get the same result or the same error.

    Args:
        config: how windows become clips of `num_frames`.

    Raises:
        DataError: not one recording can be read.
    """
    truths, broken = _truths(labelled)
    windows = [Sample(window) for truth in truths for window in truth.stretches(settings)]
    clips = views_for(model)(windows, num_frames, config)
    loader = make_test_loader(clips, workers=execution.workers, rank=rank(), num_processes=world_size())
    share = partial(predict_samples, model, loader, precision=execution.precision, temperature=temperature)
    results = in_order(share, loader, progress=execution.progress)
    return _evaluation(labelled, truths, results, settings, broken)


@dataclass(frozen=True)
class _Truth:
    """A recording before it is watched: how long it is, what happens by its labels, and what was cut off of those."""

    source: Any
    info: VideoInfo
    segments: list[Segment]
    notes: list[str]

    def stretches(self, settings: TimelineSettings) -> list[Stretch]:
        times = window_times(self.info.end_s, length_s=settings.length_s, step_s=settings.step_s)
        return [Stretch(self.source, start_s, end_s) for start_s, end_s in times]


def _truths(labelled: LabelledSet) -> tuple[list[_Truth], list[tuple[Path, str]]]:
    """The recordings in the order of the list, and those that cannot be opened; the main process looks for all."""
    by_source: dict[Source, list[Sample]] = defaultdict(list)
    for sample in labelled.samples:
        by_source[file_of(sample.path)].append(sample)
    truths, broken = [], []
    with failing_together():
        for source, samples in by_source.items() if is_main() else ():
            try:
                info = probe(source)
                notes = [info.incomplete] if info.incomplete else []
                notes += [note for sample in samples if (note := _note_past_end(sample, info))]
            except MediaError as error:
                broken.append((Path(source), error.reason))
                continue
            segments = [_segment(sample, info, labelled.classes) for sample in samples]
            truths.append(_Truth(source, info, [segment for segment in segments if segment.label != NOTHING], notes))
        if is_main():
            _require_any(truths, broken)
    return agreed((truths, broken))


def _note_past_end(sample: Sample, info: VideoInfo) -> str | None:
    """What is cut off of a labelled stretch.

    Raises:
        MediaError: it starts after the end of the recording or ends too far after it, as for `read_clip`.
    """
    if not isinstance(sample.path, Stretch):
        return None
    try:
        note = past_end(sample.path, num_frames=info.num_frames, end_s=info.end_s, fps=info.fps)
    except MediaError as error:
        raise MediaError(sample.path.file, f"its stretch {sample.path.part} {error.reason}") from None
    return f"{sample.path.part}: {note}" if note else None


def _segment(sample: Sample, info: VideoInfo, classes: Sequence[str]) -> Segment:
    """A labelled stretch in seconds; its frames are counted at the recording's average rate."""
    start, end = 0.0, info.end_s
    if isinstance(sample.path, Stretch):
        scale = info.fps if sample.path.unit == "frames" else 1
        start, end = sample.path.start / scale, min(sample.path.end / scale, end)
    return Segment(start, max(start, end), classes[sample.label])


def _evaluation(
    labelled: LabelledSet,
    truths: Sequence[_Truth],
    results: Sequence[ViewProbabilities | BrokenSample],
    settings: TimelineSettings,
    broken: list[tuple[Path, str]],
) -> TimelineEvaluation:
    recordings, first = [], 0
    for truth in truths:
        stretches = truth.stretches(settings)
        own = results[first : first + len(stretches)]
        first += len(stretches)
        failures = [result for result in own if isinstance(result, BrokenSample)]
        if len(failures) == len(own):
            broken.append((Path(truth.source), failures[0].reason))
            continue
        recordings.append(_watched(truth, stretches, own, failures, labels=labelled.classes, settings=settings))
    _require_any(recordings, broken)
    return TimelineEvaluation(list(labelled.classes), recordings, settings, broken, labelled.note)


def _require_any(recordings: Sequence[object], broken: Sequence[tuple[Path, str]]) -> None:
    if not recordings:
        raise DataError(f"none of the {len(broken)} recordings can be read; {broken[0][0]}: {broken[0][1]}")


def _watched(
    truth: _Truth,
    stretches: Sequence[Stretch],
    results: Sequence[ViewProbabilities | BrokenSample],
    failures: Sequence[BrokenSample],
    *,
    labels: Sequence[str],
    settings: TimelineSettings,
) -> WatchedRecording:
    windows = [
        WindowScores(stretch.start, stretch.end, result.joined)
        for stretch, result in zip(stretches, results, strict=True)
        if isinstance(result, ViewProbabilities)
    ]
    found = find_segments(
        windows,
        labels,
        threshold=settings.threshold,
        low=settings.low,
        shortest_s=settings.shortest_s,
        background=[NOTHING],
        core_s=settings.core_s,
    )
    ranked = found if settings.threshold else with_other_labels(found, windows, labels, background=[NOTHING])
    notes = [*truth.notes]
    if failures:
        notes.append(f"{len(failures)} of {len(results)} windows cannot be read: {failures[0].reason}")
    name = str(truth.source)
    return WatchedRecording(
        name,
        truth.info.end_s,
        truth.segments,
        found,
        ranked,
        source=truth.source,
        windows=windows,
        note="; ".join(notes) or None,
    )
