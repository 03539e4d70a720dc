"""Pictures of what `look_inside.py` finds inside a model.

matplotlib is imported where it is used: the command line must start fast.
"""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from morphmlp.analysis.insight.look_inside import BlockBranches, Insight, MixingFC, step_frames, token_matrix
from morphmlp.display.style import ACCENT, FAINT, INK, MUTED, drawable, figure_style, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEPS_A_ROW = 8
BLOCKS_A_ROW = 9  # all of video S's third stage
# The kinds of FC that a picture of token matrices holds: a chunk that spans the map stands for rows and columns.
MATRIX_PICTURES = {"vertical": ("vertical",), "horizontal": ("horizontal", "whole map"), "temporal": ("temporal",)}
BRANCH_COLOURS = {"vertical": ACCENT, "horizontal": "#e8590c", "whole map": "#7048e8", "channel": "#868e96"}


class Row(NamedTuple):
    """A row of a film: a picture for each time step, `[T', ...]`, and what draws one and gives it to a colour bar."""

    label: str
    pictures: np.ndarray
    draw: "Callable[[Axes, np.ndarray, np.ndarray], Any]"  # axes, frame [H, W, 3], picture


def draw_feature_map(insight: Insight, png_path: str | Path) -> None:
    """Draws a stage's feature map below the frame of each time step, on one colour scale over the clip (Fig. 1)."""
    low, high = float(insight.feature_map.min()), float(insight.feature_map.max())

    def draw(axes: "Axes", frame: np.ndarray, picture: np.ndarray) -> Any:
        return axes.imshow(picture, cmap="viridis", vmin=low, vmax=high, extent=_extent(frame))

    height, width = insight.feature_map.shape[1:]
    row = Row(f"stage {insight.stage}\n{height} x {width} tokens", insight.feature_map, draw)
    title = f"Spatial feature of stage {insight.stage}"
    _draw_film(insight, [row], png_path, title=title, bar_label="distance from the clip's mean token")


def draw_grad_cams(insight: Insight, png_path: str | Path) -> None:
    """Draws Grad-CAM of each stage over the frames, on one colour scale over the clip for each stage."""

    def draw(axes: "Axes", frame: np.ndarray, picture: np.ndarray) -> Any:
        axes.imshow(_grey(frame), extent=_extent(frame))
        options: dict[str, Any] = {"cmap": "inferno", "vmin": 0, "vmax": 1, "extent": _extent(frame)}
        return axes.imshow(picture, alpha=0.65, interpolation="bilinear", **options)

    rows = [Row(_cam_label(stage, cam), cam / (cam.max() or 1), draw) for stage, cam in sorted(insight.cams.items())]
    title = f"What speaks for {insight.target!r} (Grad-CAM)"
    _draw_film(insight, rows, png_path, title=title, bar_label="share of the stage's largest value")


def _cam_label(stage: int, cam: np.ndarray) -> str:
    height, width = cam.shape[1:]
    return f"stage {stage}\n" + (f"{height} x {width} tokens" if cam.max() > 0 else "nothing does")


def _draw_film(insight: Insight, rows: Sequence[Row], png_path: str | Path, *, title: str, bar_label: str) -> None:
    """The frame of each time step with the rows' pictures below it; of an image, beside it."""
    import matplotlib

    numbers = step_frames(insight.config)
    frames = insight.clip[numbers]  # [T', H, W, 3]
    name = "frame" if insight.config.temporal else "image"
    rows = [Row(name, frames, lambda axes, frame, _: axes.imshow(frame, extent=_extent(frame))), *rows]
    with matplotlib.rc_context(figure_style()):
        figure, cells = _film_cells(len(rows), len(frames), ratio=frames.shape[1] / frames.shape[2])
        figure.suptitle(drawable(title, longest=90), x=0.012, ha="left", fontsize=13, color=INK)
        drawn = [
            [row.draw(*cell) for cell in zip(line, frames, row.pictures, strict=True)]
            for line, row in zip(cells, rows, strict=True)
        ]
        _label_film(cells, [row.label for row in rows], numbers)
        bar = figure.colorbar(drawn[-1][-1], ax=figure.axes, shrink=0.8, aspect=24, pad=0.015, label=bar_label)
        bar.outline.set_visible(False)  # type: ignore[operator]
        save_figure(figure, png_path)


def _film_cells(num_rows: int, num_steps: int, *, ratio: float) -> tuple["Figure", np.ndarray]:
    """A figure with the axes `[rows, T']` of a film; `ratio` is the frames' height over width.

    12 steps of 2 rows: 8 columns, and of 4 lines of axes the first two hold steps 0 to 7, the others 8 to 11. An
    image's rows are side by side.
    """
    from matplotlib.figure import Figure

    if num_steps == 1:
        columns, bands, width = num_rows, 1, 3.0
    else:
        columns, bands = min(num_steps, STEPS_A_ROW), math.ceil(num_steps / STEPS_A_ROW)
        width = 1.25 if columns > 4 else 2.0  # inches
    lines = 1 if num_steps == 1 else bands * num_rows
    size = (width * columns + 2.2, lines * (width * min(ratio, 2) + 0.12) + 0.6)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat:
        _hide_frame(axes)
    # [bands * rows, columns] -> [bands, rows, columns] -> [rows, bands * columns]
    cells = grid.reshape(bands, num_rows, -1).transpose(1, 0, 2).reshape(num_rows, -1)
    return figure, cells[:, :num_steps]


def _label_film(cells: np.ndarray, labels: Sequence[str], numbers: Sequence[int]) -> None:
    """Names the rows on their left and the frames above them; an image's pictures above each."""
    for line, label in zip(cells, labels, strict=True):
        if len(numbers) == 1:
            line[0].set_title(label.replace("\n", ", "), fontsize=10, loc="center")
            continue
        for axes in line[::STEPS_A_ROW]:
            axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9, color=INK)
    if len(numbers) > 1:
        for axes, number in zip(cells[0], numbers, strict=True):
            axes.set_title(f"frame {number}", fontsize=9, loc="center", color=MUTED)


def draw_token_matrices(fcs: Sequence[MixingFC], png_path: str | Path, *, title: str) -> None:
    """Draws the `token_matrix` of each block, a line of blocks for each stage, on one colour scale a stage."""
    import matplotlib
    from matplotlib.figure import Figure

    lines = _lines_of_blocks(fcs)
    columns = max(map(len, lines))
    cell = 1.15  # inches
    with matplotlib.rc_context(figure_style()):
        size = (cell * max(columns, 4) + 2.4, len(lines) * (cell + 0.3) + 1)
        figure = Figure(figsize=size, dpi=150, layout="constrained")
        figure.suptitle(title, x=0.012, ha="left", fontsize=13, color=INK)
        figure.supxlabel("row: token written; column: token read", fontsize=9, color=MUTED)
        grid = figure.subplots(len(lines), columns, squeeze=False)
        for axes in grid.flat:
            axes.set_visible(False)
        for line, cells in zip(lines, grid, strict=True):
            _draw_line_of_blocks(figure, line, list(cells), limits=_limits(fcs, line[0].stage))
        save_figure(figure, png_path)


def _lines_of_blocks(fcs: Sequence[MixingFC]) -> list[list[MixingFC]]:
    """The blocks of each stage in lines of at most `BLOCKS_A_ROW`."""
    lines = []
    for _, group in groupby(fcs, key=lambda fc: fc.stage):
        blocks = list(group)
        lines += [blocks[i : i + BLOCKS_A_ROW] for i in range(0, len(blocks), BLOCKS_A_ROW)]
    return lines


def _limits(fcs: Sequence[MixingFC], stage: int) -> tuple[float, float]:
    """The smallest and the largest entry of a stage's token matrices: the ends of its colour scale."""
    matrices = [token_matrix(fc.fc) for fc in fcs if fc.stage == stage]
    return min(float(matrix.min()) for matrix in matrices), max(float(matrix.max()) for matrix in matrices)


def _draw_line_of_blocks(
    figure: "Figure", line: list[MixingFC], cells: list["Axes"], *, limits: tuple[float, float]
) -> None:
    low, high = limits
    top = high if high > low else low + 1  # a colour bar needs two ends: temporal FCs start at zero
    drawn: list[Any] = []
    for (_, block, _, fc), axes in zip(line, cells, strict=False):
        axes.set_visible(True)
        _hide_frame(axes)
        drawn.append(axes.imshow(token_matrix(fc).numpy(), cmap=_to_accent(), vmin=low, vmax=top))
        axes.set_title(f"block {block}", fontsize=9, loc="center", color=MUTED)
    stage, _, kind, fc = line[0]
    label = f"stage {stage}\n" + ("whole map\n" if kind == "whole map" else "")
    label += f"{fc.chunk_length} tokens\nof {fc.group_width} channels"
    cells[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9, color=INK)
    bar = figure.colorbar(drawn[0], ax=cells, aspect=12, pad=0.01, ticks=sorted({low, high}), format="%.2g")
    bar.outline.set_visible(False)  # type: ignore[operator]


def draw_full_weights(fcs: Sequence[MixingFC], png_path: str | Path) -> None:
    """Draws every weight of one block's FCs, token by token and within a token channel by channel."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(figure_style()):
        figure = Figure(figsize=(4.6 * len(fcs), 6.0), dpi=150, layout="constrained")
        title = f"All weights of stage {fcs[0].stage}, block {fcs[0].block}"
        figure.suptitle(title, x=0.012, ha="left", fontsize=13, color=INK)
        for axes, (_, _, kind, fc) in zip(figure.subplots(1, len(fcs), squeeze=False)[0], fcs, strict=True):
            weight = fc.fc.weight.detach().numpy()
            reach = float(np.quantile(np.abs(weight), 0.999)) or 1.0  # or a few weights would leave all others pale
            drawn = axes.imshow(weight, cmap="RdBu_r", vmin=-reach, vmax=reach)
            axes.set_title(f"{kind}: {fc.chunk_length} tokens of {fc.group_width} channels", fontsize=10, loc="center")
            _rule_tokens(axes, fc.chunk_length, fc.group_width)
            options: dict[str, Any] = {
                "ticks": [-reach, 0, reach],
                "format": "%.2g",
                "extend": "both",
                "label": "weight",
            }
            bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.6, aspect=30, **options)
            bar.outline.set_visible(False)  # type: ignore[operator]
        save_figure(figure, png_path)


def _rule_tokens(axes: "Axes", num_tokens: int, width: int) -> None:
    """Lines between the tokens of a chunk, and at most 14 of them numbered, from 0."""
    step = math.ceil(num_tokens / 14)
    numbers = range(0, num_tokens, step)
    places = [number * width + (width - 1) / 2 for number in numbers]
    axes.set_xticks(places, map(str, numbers), fontsize=8)
    axes.set_yticks(places, map(str, numbers), fontsize=8)
    edges = np.arange(1, num_tokens) * width - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(visible=False, which="major")
    axes.grid(which="minor", color=INK, linewidth=0.35, alpha=0.6)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("token read")
    axes.set_ylabel("token written")


def draw_branch_weights(blocks: Sequence[BlockBranches], png_path: str | Path) -> None:
    """Draws mean and standard deviation over the channels of each branch's weight, block by block."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(figure_style()):
        figure = Figure(figsize=(max(7.5, 0.42 * len(blocks) + 2), 4.2), dpi=150, layout="constrained")
        axes = figure.subplots()
        for name, colour in BRANCH_COLOURS.items():
            points = [(i, *_point(block, name)) for i, block in enumerate(blocks) if name in block.names]
            if points:
                places, shifts, means, spreads = np.array(points).T
                style: dict[str, Any] = {"fmt": "o", "color": colour, "markersize": 5, "capsize": 2.5, "label": name}
                axes.errorbar(places + shifts, means, spreads, **style)
        axes.set_title("Weights of the branches: mean and standard deviation over the channels", pad=12)
        axes.set_ylabel("softmax weight")
        axes.set_ylim(0, 1)
        axes.grid(visible=False, axis="x")
        _name_blocks(axes, blocks)
        axes.legend(frameon=False, labelcolor=INK, ncols=4, loc="upper left")
        save_figure(figure, png_path)


def _point(block: BlockBranches, name: str) -> tuple[float, float, float]:
    """Where a branch is drawn beside its block's place, so that no bar hides another; its mean and its deviation."""
    number = block.names.index(name)
    weights = block.weights[number]
    return 0.18 * (number - (len(block.names) - 1) / 2), float(weights.mean()), float(weights.std())


def _name_blocks(axes: "Axes", blocks: Sequence[BlockBranches]) -> None:
    """Block numbers on the axis, a line between two stages, and what equal weights would be."""
    axes.set_xticks(range(len(blocks)), [str(block.block) for block in blocks])
    axes.set_xlim(-0.5, len(blocks) - 0.5)
    start = 0
    for stage, group in groupby(blocks, key=lambda block: block.stage):
        members = list(group)
        end = start + len(members)
        axes.plot([start - 0.5, end - 0.5], 2 * [1 / len(members[0].names)], color=MUTED, linewidth=0.8, linestyle=":")
        middle, below = (start + end - 1) / 2, axes.get_xaxis_transform()
        axes.text(middle, -0.11, f"stage {stage}", transform=below, ha="center", va="top", color=INK)
        if start:
            axes.axvline(start - 0.5, color=FAINT, linewidth=1.5)
        start = end
    axes.set_xlabel("block (dotted: equal weights)", labelpad=26)


def _to_accent() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("weight", ["#f1f3f5", "#74b6c2", ACCENT, "#07424d"])


def _hide_frame(axes: "Axes") -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _extent(frame: np.ndarray) -> tuple[float, float, float, float]:
    """All pictures of a column cover the frame's pixels, however few tokens they have."""
    height, width = frame.shape[:2]
    return 0, width, height, 0


def _grey(frame: np.ndarray) -> np.ndarray:
    """`[H, W, 3]` with equal channels (luma of BT.601), so that colour is the heat's alone."""
    luma = frame @ np.array([0.299, 0.587, 0.114])
    return np.repeat(luma[..., None], 3, axis=-1).astype(np.uint8)
