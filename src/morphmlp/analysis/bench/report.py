"""What `bench` measured, for people: the machine, a table of the settings, and throughput against accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from morphmlp.analysis.bench.bench import Report, SpeedRow
from morphmlp.analysis.bench.candidates import Input
from morphmlp.analysis.bench.timing import Machine
from morphmlp.analysis.bench.torchvision_models import Published
from morphmlp.display.point_labels import Label, place_labels
from morphmlp.display.style import ACCENT, INK, MUTED, drawable, figure
from morphmlp.display.tables import number_columns, table, text_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

_MARKERS = "osD^vP*X"


def report_tables(report: Report) -> "list[RenderableType]":
    """For the terminal: machine, input and a row for each model in each setting."""
    from rich.text import Text

    fed = report.input
    has_saved = any(row.saved_bytes_per_clip is not None for row in report.rows)
    has_peak = any(row.peak_bytes is not None for row in report.rows)
    headings = ["ms", f"{fed.unit}/s", "x first", "of peak", "of copy"]
    headings += [f"saved MB/{fed.unit.removesuffix('s')}"] * has_saved + ["peak MB"] * has_peak + ["published top-1"]
    columns = [*text_columns("model", "setting"), *number_columns(*headings), *text_columns("")]
    rows = [_cells(row, has_saved=has_saved, has_peak=has_peak) for row in report.rows]
    what = "training step: forward, backward, AdamW" if report.training else "prediction"
    lines = [machine_text(report.machine), f"{what}; {input_text(fed)}; median of {report.turns} interleaved turns"]
    return [Text("\n".join(lines)), table("", columns, rows)]


def _cells(row: SpeedRow, *, has_saved: bool, has_peak: bool) -> list[str]:
    memory = [_megabytes(row.saved_bytes_per_clip)] * has_saved + [_megabytes(row.peak_bytes)] * has_peak
    return [row.model, row.setting, *_figures(row), *memory, published_text(row.published), _note(row)]


def machine_text(machine: Machine) -> str:
    """Two lines: the machine's name, and its best measured figures."""
    name = f"{machine.gpu}, {machine.processor}" if machine.gpu else machine.processor
    peaks = ", ".join(f"{peak:,.0f} GFLOP/s {dtype}" for dtype, peak in machine.peak_gflops.items())
    return (
        f"{name}, {machine.cores} cores, {machine.threads} thread{'s' * (machine.threads > 1)}, torch {machine.torch}\n"
        f"measured peaks: {peaks}; copy {machine.copy_gb_s:.0f} GB/s"
    )


def input_text(fed: Input) -> str:
    """As "4 clips of 16 x 224 x 224" or "1 image of 224 x 224"."""
    frames = "" if fed.frames is None else f"{fed.frames} x "
    unit = fed.unit if fed.batch > 1 else fed.unit.removesuffix("s")
    return f"{fed.batch} {unit} of {frames}{fed.size} x {fed.size}"


def published_text(published: Published | None) -> str:
    """As "78.7 (16 frames, 4 views)"; of images, the figure alone."""
    if published is None:
        return ""
    if published.frames is None:
        return f"{published.top1:.1f}"
    return f"{published.top1:.1f} ({_frames_and_views(published)})"


def _frames_and_views(published: Published) -> str:
    return f"{published.frames} frames, {published.views} view{'s' * (published.views > 1)}"


def _figures(row: SpeedRow) -> list[str]:
    if row.median_s is None or row.clips_per_s is None or row.ratio is None:
        return ["-"] * 5
    moved = "" if row.share_of_bandwidth is None else f"{row.share_of_bandwidth:.0%}"
    speed = [f"{1000 * row.median_s:.1f}", f"{row.clips_per_s:.2f}", f"{row.ratio:.2f}"]
    return [*speed, "" if row.share_of_peak is None else f"{row.share_of_peak:.0%}", moved]


def _megabytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.1f}"


def _note(row: SpeedRow) -> str:
    if row.refused:
        return f"left out: {row.refused}"
    notes = ["fastest"] * row.fastest
    if row.setting.endswith("compiled") and row.first_call_s is not None:
        notes.append(f"compiled in {row.first_call_s:.0f} s")
    if row.top1_agreement is not None:
        notes.append(f"logits within {row.largest_difference:.0e}, same class {row.top1_agreement:.0%}")
    return ", ".join(notes)


@dataclass(frozen=True)
class Point:
    """A setting of a model in the plot."""

    clips_per_s: float
    published: Published
    setting: str


def points_by_model(rows: Sequence[SpeedRow]) -> dict[str, list[Point]]:
    """The rows that have a speed and a published accuracy."""
    models: dict[str, list[Point]] = {}
    for row in rows:
        if row.published is not None and row.clips_per_s is not None:
            point = Point(row.clips_per_s, row.published, row.setting)
            models.setdefault(row.model, []).append(point)
    return models


def plot_speed(reports: Sequence[Report], png_path: str | Path) -> None:
    """Draws published top-1 over measured throughput, a panel for each report; a model's settings share a line."""
    with figure(png_path, (6.4 * len(reports), 5.4), padding=0.12) as canvas:
        panels = canvas.subplots(1, len(reports), squeeze=False)[0]
        for axes, report in zip(panels, reports, strict=True):
            _draw_speed(axes, report)
        machine = machine_text(reports[0].machine).splitlines()[0]
        canvas.suptitle(drawable(machine, longest=100), x=0.012, ha="left", fontsize=9, color=MUTED)
        canvas.draw_without_rendering()  # settles the layout: the labels are placed in it
        for axes, report in zip(panels, reports, strict=True):
            place_labels(axes, [_label(model, points) for model, points in points_by_model(report.rows).items()])


def _draw_speed(axes: "Axes", report: Report) -> None:
    """Small markers are settings that are slower than the model's fastest."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for (model, points), marker in zip(points_by_model(report.rows).items(), cycle(_MARKERS), strict=False):
        colour = ACCENT if model.startswith("morphmlp") else INK
        speeds, accuracies = [point.clips_per_s for point in points], [point.published.top1 for point in points]
        if len(points) > 1:
            axes.plot(speeds, accuracies, color=colour, marker=marker, markersize=4, linewidth=0.8, alpha=0.5)
        best = _best(points)
        place = [best.clips_per_s], [best.published.top1]
        axes.plot(*place, color=colour, marker=marker, markersize=8, linestyle="none")
    verb = "trained" if report.training else "predicted"
    axes.set_title(f"Published top-1 and speed: {input_text(report.input)}")
    axes.set_xlabel(f"{report.input.unit} {verb} a second (log scale)")
    axes.set_ylabel("published top-1 (%)")
    axes.set_xscale("log")
    axes.margins(x=0.35, y=0.25)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=0)


def _label(model: str, points: Sequence[Point]) -> Label:
    """The label of the fastest setting: its name, and the frames and views of the published accuracy."""
    best = _best(points)
    text = f"{model}\n{best.setting}"
    if best.published.frames:
        text += f"\n{_frames_and_views(best.published)}"
    return Label(best.clips_per_s, best.published.top1, text, is_ours=model.startswith("morphmlp"))


def _best(points: Sequence[Point]) -> Point:
    return max(points, key=lambda point: point.clips_per_s)
