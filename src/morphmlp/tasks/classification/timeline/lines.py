"""A window as a line for people and as plain values for programs, and the segments as a table."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from morphmlp.display.tables import number_columns, table, text_columns
from morphmlp.formatting import one_line, percent
from morphmlp.tasks.classification.prediction import NONE_OF_THESE
from morphmlp.tasks.classification.predictor import Window
from morphmlp.tasks.classification.timeline.segments import Segment
from morphmlp.tasks.classification.timeline.watching import Pace

if TYPE_CHECKING:
    from rich.table import Table

MOST_SHOWN = 40  # segments of a table


def window_line(window: Window, k: int, pace: Pace | None) -> str:
    """Times, the k best classes, and how a live source and the model keep up.

    2.00 to 4.00 s  moving_up 97.1%, moving_down 1.3%
    2.00 to 4.00 s  moving_up 97.1%  (lag 0.21 s, 25.0 frames/s, 12 dropped)
    """
    times = f"{window.start_s:.2f} to {window.end_s:.2f} s"
    best = ", ".join(f"{label} {percent(probability)}" for label, probability in window.top(k))
    shown = f"{NONE_OF_THESE} ({best})" if window.answer == NONE_OF_THESE else best
    return one_line(f"{times:>18}  {shown}{_pace_text(window, pace)}")


def _pace_text(window: Window, pace: Pace | None) -> str:
    if pace is None:
        return ""
    dropped = f", {pace.num_dropped:,} dropped" if pace.num_dropped else ""
    skipped = f", {pace.num_skipped:,} windows left out" if pace.num_skipped else ""
    return f"  (lag {window.lag_s:.2f} s, {pace.fps:.1f} frames/s{dropped}{skipped})"


def window_row(name: str, window: Window, k: int, pace: Pace | None) -> dict[str, Any]:
    """Plain values: source, start and end in seconds, answer, the k best classes, and of a live source its pace."""
    top = [{"label": label, "probability": round(probability, 6)} for label, probability in window.top(k)]
    row = {"source": name, "start": round(window.start_s, 6), "end": round(window.end_s, 6)}
    row |= {"answer": window.answer, "top": top}
    if pace is not None:
        row |= {
            "lag_s": round(window.lag_s, 3),
            "fps": round(pace.fps, 2),
            "dropped_frames": pace.num_dropped,
            "left_out_windows": pace.num_skipped,
            "lost_connections": pace.num_lost,
        }
    return row


def segment_table(recordings: Mapping[str, Sequence[Segment]]) -> "Table":
    """The first segments of each source; the heading says where there are more."""
    rows = [(name, segment) for name, segments in recordings.items() for segment in segments]
    title = f"Segments ({len(rows):,})" + (f", the first {MOST_SHOWN}" if len(rows) > MOST_SHOWN else "")
    cells = [
        (one_line(name), f"{segment.start_s:.2f}", f"{segment.end_s:.2f}", segment.label, percent(segment.score))
        for name, segment in rows[:MOST_SHOWN]
    ]
    columns = [
        *text_columns("source"),
        *number_columns("start (s)", "end (s)"),
        *text_columns("label"),
        *number_columns("score"),
    ]
    return table(title, columns, cells)
