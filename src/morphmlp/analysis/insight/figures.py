"""Pictures of what `look_inside.py` finds inside a model.

matplotlib is imported where it is used: the command line must start fast.
"""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from morphmlp.analysis.insight.look_inside import BlockBranches, Insight, MixingFC, token_matrix
from morphmlp.display.style import ACCENT, FAINT, INK, MUTED, accent_colours, colour_bar, figure, hide_frame
from morphmlp.inference.grad_cam import step_frames

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEPS_A_ROW = 8
BLOCKS_A_ROW = 9  # all of video S's third stage
# The kinds of FC in each picture of token matrices: a chunk that spans the map mixes rows and columns alike.
MATRIX_PICTURES = {"vertical": ("vertical",), "horizontal": ("horizontal", "whole map"), "temporal": ("temporal",)}
BRANCH_COLOURS = {"vertical": ACCENT, "horizontal": "#e8590c", "whole map": "#7048e8", "channel": "#868e96"}


class FilmRow(NamedTuple):
    """A row of a film: a picture for each time step, `[T', ...]`, and what draws one and gives it to a colour bar."""

    label: str
    pictures: np.ndarray
    draw: "Callable[[Axes, np.ndarray, np.ndarray], Any]"  # axes, frame [H, W, 3], picture


def draw_feature_map(insight: Insight, png_path: str | Path) -> None:
    """Draws a stage's feature map below the frame of each time step, on one colour scale over the clip (Fig. 1)."""
    limits = {"vmin": insight.feature_map.min(), "vmax": insight.feature_map.max()}

    def draw(axes: "Axes", frame: np.ndarray, picture: np.ndarray) -> Any:
        return axes.imshow(picture, cmap="viridis", extent=_extent(frame), **limits)

    height, width = insight.feature_map.shape[1:]
    row = FilmRow(f"stage {insight.stage}\n{height} x {width} tokens", insight.feature_map, draw)
    title = f"Spatial feature of stage {insight.stage}"
    _draw_film(insight, [row], png_path, title=title, bar_label="distance from the clip's mean token")


def draw_grad_cams(insight: Insight, png_path: str | Path) -> None:
    """Draws Grad-CAM of each stage over the frames, on one colour scale over the clip for each stage."""

    def draw(axes: "Axes", frame: np.ndarray, picture: np.ndarray) -> Any:
        axes.imshow(_grey(frame), extent=_extent(frame))
        options: dict[str, Any] = {"cmap": "inferno", "vmin": 0, "vmax": 1, "extent": _extent(frame)}
        return axes.imshow(picture, alpha=0.65, interpolation="bilinear", **options)

    cams = sorted(insight.cams.items())
    rows = [FilmRow(_cam_label(stage, cam), cam / (cam.max() or 1), draw) for stage, cam in cams]
    title = f"What speaks for {insight.target!r} (Grad-CAM)"
    _draw_film(insight, rows, png_path, title=title, bar_label="share of the stage's largest value")


def _cam_label(stage: int, cam: np.ndarray) -> str:
    height, width = cam.shape[1:]
    return f"stage {stage}\n" + (f"{height} x {width} tokens" if cam.max() > 0 else "nothing does")


def _draw_film(insight: Insight, rows: Sequence[FilmRow], png_path: str | Path, *, title: str, bar_label: str) -> None:
    """Draws the frame of each time step with the rows' pictures below it; of an image, beside it."""
    numbers = step_frames(insight.config)
    frames = insight.clip[numbers]  # [T', H, W, 3]
    name = "frame" if insight.config.temporal else "image"
    rows = [FilmRow(name, frames, lambda axes, frame, _: axes.imshow(frame, extent=_extent(frame))), *rows]
    lines, columns, width = _film_grid(len(rows), len(frames))
    height = width * min(frames.shape[1] / frames.shape[2], 2)
    with figure(png_path, (width * columns + 2.2, lines * (height + 0.12) + 0.6), title=title) as canvas:
        cells = _film_cells(canvas.subplots(lines, columns, squeeze=False), len(rows), len(frames))
        drawn = [
            [row.draw(*cell) for cell in zip(line, frames, row.pictures, strict=True)]
            for line, row in zip(cells, rows, strict=True)
        ]
        _label_film(cells, [row.label for row in rows], numbers)
        options = {"shrink": 0.8, "aspect": 24, "pad": 0.015, "label": bar_label}
        colour_bar(canvas, drawn[-1][-1], ax=canvas.axes, **options)


def _film_grid(num_rows: int, num_steps: int) -> tuple[int, int, float]:
    """Lines and columns of panels of a film, and the width of a panel in inches; an image's rows are side by side.

    2 rows of 12 steps are 4 lines of 8 panels: the first two lines hold steps 0 to 7, the others 8 to 11.
    """
    if num_steps == 1:
        return 1, num_rows, 3.0
    columns = min(num_steps, STEPS_A_ROW)
    return num_rows * math.ceil(num_steps / STEPS_A_ROW), columns, 1.25 if columns > 4 else 2.0


def _film_cells(grid: np.ndarray, num_rows: int, num_steps: int) -> np.ndarray:
    """The panels of a film: the grid `[bands * rows, columns]` becomes `[rows, T']`."""
    for axes in grid.flat:
        hide_frame(axes)
    bands = math.ceil(num_steps / STEPS_A_ROW)
    # [bands * rows, columns] -> [bands, rows, columns] -> [rows, bands, columns] -> [rows, bands * columns]
    cells = grid.reshape(bands, num_rows, -1).transpose(1, 0, 2).reshape(num_rows, -1)
    return cells[:, :num_steps]


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
    lines = _lines_of_blocks(fcs)
    columns = max(map(len, lines))
    cell = 1.15  # inches
    size = (cell * max(columns, 4) + 2.4, len(lines) * (cell + 0.3) + 1)
    with figure(png_path, size, title=title) as canvas:
        canvas.supxlabel("row: token written; column: token read", fontsize=9, color=MUTED)
        grid = canvas.subplots(len(lines), columns, squeeze=False)
        for axes in grid.flat:
            axes.set_visible(False)
        for line, cells in zip(lines, grid, strict=True):
            _draw_line_of_blocks(canvas, line, list(cells), limits=_limits(fcs, line[0].stage))


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
    canvas: "Figure", line: list[MixingFC], cells: list["Axes"], *, limits: tuple[float, float]
) -> None:
    low, high = limits
    top = high if high > low else low + 1  # a colour bar needs two ends: temporal FCs start at zero
    drawn: list[Any] = []
    for (_, block, _, fc), axes in zip(line, cells, strict=False):
        axes.set_visible(True)
        hide_frame(axes)
        drawn.append(axes.imshow(token_matrix(fc).numpy(), cmap=accent_colours(), vmin=low, vmax=top))
        axes.set_title(f"block {block}", fontsize=9, loc="center", color=MUTED)
    stage, _, kind, fc = line[0]
    label = f"stage {stage}\n" + ("whole map\n" if kind == "whole map" else "")
    label += f"{fc.chunk_length} tokens\nof {fc.group_width} channels"
    cells[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9, color=INK)
    colour_bar(canvas, drawn[0], ax=cells, aspect=12, pad=0.01, ticks=sorted({low, high}), format="%.2g")


def draw_full_weights(fcs: Sequence[MixingFC], png_path: str | Path) -> None:
    """Draws every weight of one block's FCs, token by token and within a token channel by channel."""
    title = f"All weights of stage {fcs[0].stage}, block {fcs[0].block}"
    with figure(png_path, (4.6 * len(fcs), 6.0), title=title) as canvas:
        for axes, (_, _, kind, fc) in zip(canvas.subplots(1, len(fcs), squeeze=False)[0], fcs, strict=True):
            weight = fc.fc.weight.detach().numpy()
            reach = float(np.quantile(np.abs(weight), 0.999)) or 1.0  # or a few weights would leave all others pale
            drawn = axes.imshow(weight, cmap="RdBu_r", vmin=-reach, vmax=reach)
            axes.set_title(f"{kind}: {fc.chunk_length} tokens of {fc.group_width} channels", fontsize=10, loc="center")
            _rule_tokens(axes, fc.chunk_length, fc.group_width)
            place = {"ax": axes, "location": "bottom", "shrink": 0.6, "aspect": 30}
            scale = {"ticks": [-reach, 0, reach], "format": "%.2g", "extend": "both", "label": "weight"}
            colour_bar(canvas, drawn, **place, **scale)


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
    with figure(png_path, (max(7.5, 0.42 * len(blocks) + 2), 4.2)) as canvas:
        axes = canvas.subplots()
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


def _extent(frame: np.ndarray) -> tuple[float, float, float, float]:
    """The pixels of the frame: each picture of a column covers them, however few tokens it has."""
    height, width = frame.shape[:2]
    return 0, width, height, 0


def _grey(frame: np.ndarray) -> np.ndarray:
    """`[H, W, 3]` with equal channels (luma of BT.601): only the heat has colour."""
    luma = frame @ np.array([0.299, 0.587, 0.114])
    return np.repeat(luma[..., None], 3, axis=-1).astype(np.uint8)
