"""What `morphmlp ablate` shows: the paper's figures beside ours with their spread, and where the two orders agree."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morphmlp.analysis.paper.trained import ProxyResult
from morphmlp.display.style import ACCENT, INK, MUTED, figure
from morphmlp.display.tables import number_columns, text_columns
from morphmlp.display.tables import table as draw_table
from morphmlp.formatting import percent

if TYPE_CHECKING:
    from rich.console import RenderableType

# Quantiles of Student's t, two-sided 5 %, by the number of seeds. The normal distribution's 1.96 would be too low: with
# three seeds it tells every fifth pair of equal designs apart.
T_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}


def comparable_column(results: Sequence[ProxyResult], *, video: bool) -> str:
    """The published column nearest to the data: SSV1 for videos, ImageNet for images, where there is one."""
    columns = [name for name in results[0].published if "top-1" in name]
    wanted = "SSV1" if video else "ImageNet"
    return next((name for name in columns if wanted in name), columns[0])


def mean(result: ProxyResult) -> float:
    """Mean top-1 over the seeds; NaN where one diverged."""
    return float(_values(result).mean())


def spread(result: ProxyResult) -> float:
    """Standard deviation over the seeds; NaN for a single one, or where one diverged."""
    return _deviation(_values(result))


def _values(result: ProxyResult) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in result.top1])


def _deviation(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def compare_orders(results: Sequence[ProxyResult], column: str) -> list[dict[str, Any]]:
    """For each pair of designs: whether ours are in the paper's order, or are not told apart.

    Two designs are told apart by a paired t-test at 5 %: with a seed, all designs see the same batches. The level is
    that of one pair; it is not corrected for the number of pairs.
    """
    pairs = []
    for left, right in combinations(results, 2):
        published = left.published[column] - right.published[column]
        differences = _values(left) - _values(right)
        ours = float(differences.mean())
        error = _deviation(differences) / math.sqrt(len(differences))
        told_apart = abs(ours) > T_95.get(len(differences), 2.26) * error  # False where either is NaN
        if not told_apart or published == 0:
            verdict = "not told apart"
        else:
            verdict = "agrees" if ours * published > 0 else "disagrees"
        pairs.append({"rows": [left.name, right.name], "published": published, "ours": ours, "verdict": verdict})
    return pairs


def report(table: int, results: Sequence[ProxyResult], *, column: str, facts: dict[str, Any]) -> dict[str, Any]:
    """All that is shown, as plain values for JSON."""
    rows = [asdict(result) | {"mean": mean(result), "spread": spread(result)} for result in results]
    return {
        "table": table,
        "note": "a small-scale proxy: other data, smaller models, fewer steps than the paper's",
        "compared_with": column,
        **facts,
        "rows": [{key: _plain(value) for key, value in row.items()} for row in rows],
        "pairs": [{key: _plain(value) for key, value in pair.items()} for pair in compare_orders(results, column)],
    }


def _plain(value: Any) -> Any:
    """JSON knows no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def agreement_tables(table: int, results: Sequence[ProxyResult], column: str) -> "list[RenderableType]":
    """For the terminal: a row for each design, and below them the pairs by whether the two orders agree."""
    from rich.text import Text

    published = list(results[0].published)
    headings = [f"paper: {name}" for name in published]
    headings += ["ours: top-1", "by seed", "parameters", "multiply-adds", "s"]
    columns = [*text_columns("design"), *number_columns(*headings, no_wrap=False)]
    rows = [_cells(result, published) for result in results]
    pairs = compare_orders(results, column)
    lines = [
        f"Pairs of designs in the order of the paper's {column}; told apart by a paired t-test, 5 % a pair, "
        "not corrected for their number:"
    ]
    for verdict in ("agrees", "disagrees", "not told apart"):
        names = [f"{a} / {b}" for a, b in (pair["rows"] for pair in pairs if pair["verdict"] == verdict)]
        lines.append(f"  {verdict}: {len(names)} of {len(pairs)}" + (f": {'; '.join(names)}" if names else ""))
    return [draw_table(f"Table {table}, a small-scale proxy", columns, rows), Text("\n".join(lines))]


def _cells(result: ProxyResult, published: Sequence[str]) -> list[str]:
    return [
        result.name,
        *[str(result.published.get(name, "")) for name in published],
        f"{100 * mean(result):.1f} ± {100 * spread(result):.1f}",
        " ".join("diverged" if value is None else percent(value) for value in result.top1),
        f"{result.parameters / 1e6:.2f} M",
        f"{result.multiply_adds / 1e9:.3f} G",
        f"{result.training_s:.0f}",
    ]


def plot_agreement(table: int, results: Sequence[ProxyResult], column: str, png_path: str | Path) -> None:
    """Two panels with the same designs: the paper's figures, and ours by seed with their mean; 1650 px wide."""
    positions = list(range(len(results)))[::-1]  # the first row on top
    title = f"Table {table}: the paper's figures, and a small-scale proxy"
    with figure(png_path, (11, 1.6 + 0.45 * len(results)), title=title) as canvas:
        paper, ours = canvas.subplots(1, 2, sharey=True)
        paper.scatter([result.published[column] for result in results], positions, color=INK, s=36, zorder=3)
        paper.set_title(f"paper: {column} (%)")
        for position, result in zip(positions, results, strict=True):
            values = [100 * value for value in result.top1 if value is not None]
            ours.scatter(values, [position] * len(values), color=ACCENT, alpha=0.45, s=28, zorder=3)
            ours.plot([100 * mean(result)] * 2, [position - 0.28, position + 0.28], color=ACCENT, linewidth=2.5)
        ours.set_title(f"ours: top-1 (%), {len(results[0].top1)} seeds and their mean")
        paper.set_yticks(positions, [result.name for result in results])
        for axes in (paper, ours):
            axes.grid(axis="x", color=MUTED, alpha=0.2)
            axes.set_ylim(-0.6, len(results) - 0.4)
