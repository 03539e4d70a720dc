"""An evaluation over whole recordings for people and for programs: tables, json, csv and pictures."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.video import read_frames
from morphmlp.display.tables import class_tables
from morphmlp.display.timeline import Timeline, draw_timeline, write_timeline_page
from morphmlp.errors import MediaError
from morphmlp.files import replace_json, replaced_folder
from morphmlp.formatting import encodable, percent
from morphmlp.tasks.classification.timeline import metrics
from morphmlp.tasks.classification.timeline.evaluation import TimelineEvaluation, WatchedRecording
from morphmlp.tasks.classification.timeline.metrics import OVERLAPS, TIOUS
from morphmlp.tasks.classification.timeline.outputs import file_name, stem_of, unique_names, write_segments
from morphmlp.tasks.classification.timeline.pictures import FRAMES_SHOWN

if TYPE_CHECKING:
    from rich.console import RenderableType


def summary(evaluation: TimelineEvaluation) -> dict[str, Any]:
    """The figures as plain values; times in seconds."""
    recordings, settings = evaluation.recordings, evaluation.settings
    by_tiou = {f"{tiou:g}": metrics.mean_average_precision(recordings, tiou) for tiou in TIOUS}
    answers = [replace(recording, ranked=None) for recording in recordings]
    of_answers = [metrics.mean_average_precision(answers, tiou) for tiou in TIOUS]
    return {
        "recordings": len(recordings) + len(evaluation.broken),
        "evaluated": len(recordings),
        "duration_s": round(sum(recording.duration_s for recording in recordings), 3),
        "true_segments": sum(len(recording.truth) for recording in recordings),
        "segments": sum(len(recording.predicted) for recording in recordings),
        "length_s": settings.length_s,
        "step_s": settings.step_s,
        "threshold": settings.threshold,
        "low": settings.low,
        "shortest_s": settings.shortest_s,
        "map": float(np.mean(list(by_tiou.values()))),
        "map_at_tiou": by_tiou,
        "map_of_answers": float(np.mean(of_answers)),
        "frame_accuracy": metrics.frame_accuracy(recordings),
        "frame_accuracy_labelled": metrics.frame_accuracy(recordings, only_labelled=True),
        "segment_f1_at": {f"{100 * overlap:g}": metrics.segment_f1(recordings, overlap) for overlap in OVERLAPS},
        "classes": per_class(evaluation),
        "of_recordings": [_figures(recording) for recording in recordings],
        "not_evaluated": [{"path": str(path), "reason": reason} for path, reason in evaluation.broken],
    }


def per_class(evaluation: TimelineEvaluation) -> list[dict[str, Any]]:
    """For each class: its segments, those found, and its average precision; None where it has no true segment."""
    rows = []
    for label in evaluation.labels:
        true, found = (
            sum(segment.label == label for recording in evaluation.recordings for segment in getattr(recording, row))
            for row in ("truth", "predicted")
        )
        values = [metrics.average_precision(evaluation.recordings, label, tiou) if true else None for tiou in TIOUS]
        mean = float(np.mean([value for value in values if value is not None])) if true else None
        by_tiou = dict(zip((f"ap_at_{tiou:g}" for tiou in TIOUS), values, strict=True))
        rows.append({"class": label, "segments": true, "found": found, "ap": mean, **by_tiou})
    return rows


def _figures(recording: WatchedRecording) -> dict[str, Any]:
    values = {
        "video": recording.name,
        "duration_s": round(recording.duration_s, 3),
        "true_segments": len(recording.truth),
        "segments": len(recording.predicted),
        "frame_accuracy": metrics.frame_accuracy([recording]),
        "segment_f1_at_50": metrics.segment_f1([recording], 0.5),
    }
    return values | ({"note": recording.note} if recording.note else {})


def evaluation_tables(evaluation: TimelineEvaluation) -> "list[RenderableType]":
    """For the terminal: what was watched, the figures, and the average precision of the classes."""
    from rich.text import Text

    columns = {"segments": "segments", "found": "found", "AP@0.5": "ap_at_0.5", "mean AP": "ap"}
    tables = class_tables(per_class(evaluation), columns, rank="ap", what="with labelled segments")
    return [Text(encodable("\n".join(_lines(evaluation)))), *tables]


def _lines(evaluation: TimelineEvaluation) -> list[str]:
    figures, settings = summary(evaluation), evaluation.settings
    rule = "most probable label" if not settings.threshold else f"threshold {settings.threshold:g}"
    lines = [
        f"{figures['evaluated']} of {figures['recordings']} recordings, {figures['duration_s']:.0f} s, watched through "
        f"windows of {settings.length_s:g} s every {settings.step_s:g} s; {rule}, segments of "
        f"{settings.shortest_s:g} s or longer",
        *(f"  not evaluated: {path} ({reason})" for path, reason in evaluation.broken),
        *(
            f"  incomplete: {recording.name} ({recording.note})"
            for recording in evaluation.recordings
            if recording.note
        ),
        f"{figures['segments']} segments found, {figures['true_segments']} labelled",
        f"mAP {percent(figures['map'])} (mean over tIoU 0.3 to 0.7)   "
        + "   ".join(f"@{tiou} {percent(value)}" for tiou, value in figures["map_at_tiou"].items())
        + f"   of the answers alone {percent(figures['map_of_answers'])}",
        f"frame accuracy {percent(figures['frame_accuracy'])}   "
        f"where something is labelled {percent(figures['frame_accuracy_labelled'])}",
        "segment F1   " + "   ".join(f"@{at} {percent(value)}" for at, value in figures["segment_f1_at"].items()),
    ]
    return [*lines, evaluation.note] if evaluation.note else lines


def write_evaluation(evaluation: TimelineEvaluation, folder: Path) -> None:
    """Writes `TIMELINE_FILES` into a folder; of them, `timelines` holds a picture of each recording."""
    figures = summary(evaluation)
    replace_json(folder / "summary.json", figures)
    write_segments(
        folder / "segments.csv", {recording.name: recording.predicted for recording in evaluation.recordings}
    )
    timelines = {recording.name: timeline_of(recording, evaluation) for recording in evaluation.recordings}
    names = unique_names({name: file_name(stem_of(name)) for name in timelines})
    with replaced_folder(folder / "timelines") as pictures:
        for name, timeline in timelines.items():
            draw_timeline(pictures / f"{names[name]}.png", timeline)
    write_timeline_page(
        folder / "timelines.html",
        list(timelines.values()),
        title="What happens when",
        facts=[
            ("mAP, tIoU 0.3 to 0.7", percent(figures["map"])),
            ("frame accuracy", percent(figures["frame_accuracy"])),
            *((f"segment F1@{at}", percent(value)) for at, value in figures["segment_f1_at"].items()),
        ],
    )


def timeline_of(recording: WatchedRecording, evaluation: TimelineEvaluation) -> Timeline:
    """The truth above what was found, with the probabilities of the labels that are in either."""
    shown = {segment.label for segment in [*recording.truth, *recording.predicted]}
    values = np.stack([window.probabilities for window in recording.windows])
    f1 = metrics.segment_f1([recording], 0.5)
    return Timeline(
        title=recording.name,
        duration_s=recording.duration_s,
        rows={"truth": recording.truth, "prediction": recording.predicted},
        times_s=np.array([(window.start_s + window.end_s) / 2 for window in recording.windows]),
        scores={label: values[:, i] for i, label in enumerate(evaluation.labels) if label in shown},
        threshold=evaluation.settings.threshold or None,
        frames=frames_over(recording),
        note=f"frame accuracy {percent(metrics.frame_accuracy([recording]))}, segment F1@50 {percent(f1)}",
    )


def frames_over(recording: WatchedRecording, count: int = FRAMES_SHOWN) -> np.ndarray | None:
    """The frame in the middle of each of `count` parts of the time, `[count, H, W, 3]`; None if one cannot be read."""
    part_s = recording.duration_s / count
    source: Any = recording.source
    try:
        found = [read_frames(Stretch(source, (i + 0.5) * part_s, (i + 1) * part_s), [0])[0] for i in range(count)]
    except MediaError:
        return None
    return np.stack(found) if len({frame.shape for frame in found}) == 1 else None
