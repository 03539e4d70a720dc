"""What `morphmlp visualize` leaves: a folder of pictures with a page that holds them, and a table for the terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morphmlp.analysis.insight import figures
from morphmlp.analysis.insight.look_inside import BlockBranches, Insight, MixingFC
from morphmlp.config import ModelConfig
from morphmlp.display.page import CSS, TEMPLATE, escape, inline
from morphmlp.display.tables import number_columns, table, text_columns
from morphmlp.files import replaced_folder, require_own_folder
from morphmlp.formatting import percent
from morphmlp.models.alternatives import has_branches

if TYPE_CHECKING:
    from rich.table import Table

PAGE = "index.html"
PICTURES = {
    "feature_map.png": "Spatial feature",
    "grad_cam.png": "Grad-CAM",
    "branch_weights.png": "Branch weights",
    "weights_vertical.png": "Vertical FCs",
    "weights_horizontal.png": "Horizontal FCs",
    "weights_temporal.png": "Temporal FCs",
    "weights_full.png": "One block's FCs, weight by weight",
}


@dataclass(frozen=True)
class Part:
    """A section of the page: a picture's file name with one line of explanation, or, without one, why there is none."""

    heading: str
    explanation: str
    file: str | None


def write_insight(insight: Insight, folder: str | Path, *, checkpoint: str | Path, path: str | Path) -> list[Path]:
    """Writes the pictures and the page; the folder appears when all are complete. Returns the files, the page first.

    Args:
        checkpoint, path: what was looked at, for the page.

    Raises:
        DataError: `folder` is a file, or holds anything but an earlier visualization.
    """
    folder = Path(folder)
    require_own_folder(folder, {PAGE, *PICTURES}, what="a visualization")
    with replaced_folder(folder) as temporary:
        parts = _draw_parts(insight, temporary)
        (temporary / PAGE).write_text(_page(insight, parts, temporary, checkpoint, path), encoding="utf-8")
    return [folder / PAGE, *(folder / part.file for part in parts if part.file)]


def _draw_parts(insight: Insight, folder: Path) -> list[Part]:
    """Draws what there is, in the order of the page."""
    config, missing = insight.config, missing_parts(insight.config)
    steps = "" if not config.temporal else " Each column is a time step, below the frame in its middle."
    parts: list[Part] = []

    def add(file: str, explanation: str, draw: Callable[[Path], None], reason: str | None = None) -> None:
        if reason is None:
            draw(folder / file)
        parts.append(Part(PICTURES[file], reason or explanation, None if reason else file))

    add(
        "feature_map.png",
        f"How far each token of stage {insight.stage} is from the mean token: bright is what the model sets apart "
        f"from the rest.{steps}",
        lambda png: figures.draw_feature_map(insight, png),
    )
    add(
        "grad_cam.png",
        f"Where the stages' maps speak for {insight.target!r}: bright counts most, dark does nothing for it.{steps}",
        lambda png: figures.draw_grad_cams(insight, png),
    )
    add(
        "branch_weights.png",
        "How the weighted sum shares this clip out between the branches of each block; without preference they lie "
        "on the dotted line.",
        lambda png: figures.draw_branch_weights(insight.branches, png),
        missing.get("branches"),
    )
    for kind, over in {"vertical": "columns", "horizontal": "rows", "temporal": "time steps"}.items():
        fcs = [fc for fc in insight.fcs if fc.kind in figures.MATRIX_PICTURES[kind]]
        add(
            f"weights_{kind}.png",
            f"How strongly each token of a chunk along the {over} acts on each other, as the root mean square of the "
            "weights between the two; the diagonal is a token's effect on itself.",
            lambda png, fcs=fcs, kind=kind: figures.draw_token_matrices(
                fcs, png, title=f"{kind.capitalize()} FCs: root mean square weight between two tokens"
            ),
            missing.get("temporal" if kind == "temporal" else "spatial"),
        )
    block = _last_block(insight)
    if block:
        add(
            "weights_full.png",
            f"Every weight of the last block of stage {insight.stage}; the lines part the tokens, within which are "
            "their channels.",
            lambda png: figures.draw_full_weights(block, png),
        )
    return parts


def missing_parts(config: ModelConfig) -> dict[str, str]:
    """Why a model has no "spatial" FCs, "temporal" FCs or "branches" to show: a reason for each that it lacks."""
    reasons = {}
    if config.spatial_op != "morphfc":
        reasons["spatial"] = f"The spatial layers have no FCs over tokens: spatial_op is {config.spatial_op!r}."
    if not config.temporal:
        reasons["temporal"] = "An image model has no temporal layers."
    elif config.style == "cnn" or config.temporal_op != "morphfc":
        reasons["temporal"] = "The temporal layers have no FCs over tokens: they are convolutions over time."
    if not has_branches(config):
        reasons["branches"] = f"The spatial layers have no branches: spatial_op is {config.spatial_op!r}."
    elif not config.weighted_sum:
        reasons["branches"] = "The branches are added up as they are, without weights: weighted_sum is False."
    return reasons


def _last_block(insight: Insight) -> list[MixingFC]:
    """The FCs of the last block of the chosen stage."""
    of_stage = [fc for fc in insight.fcs if fc.stage == insight.stage]
    return [fc for fc in of_stage if fc.block == of_stage[-1].block]


def _page(insight: Insight, parts: Sequence[Part], folder: Path, checkpoint: str | Path, path: str | Path) -> str:
    config = insight.config
    what = "of the pixels" if config.task == "segmentation" else "probability"
    facts = [
        ("predicted class" if insight.predicted else "class asked for", insight.target),
        (what, percent(insight.target_share)),
        ("model", config.name),
        ("stage shown", str(insight.stage)),
    ]
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    body = [
        f"<header><h1>Inside {escape(config.name)}</h1><p>{escape(f'{checkpoint} on {path}')}</p></header>",
        f"<dl class='facts'>{items}</dl>",
        *(_part_html(part, folder) for part in parts),
    ]
    return TEMPLATE.format(title=f"Inside {escape(config.name)}", css=CSS + _OWN_CSS, body="\n".join(body))


def _part_html(part: Part, folder: Path) -> str:
    heading, explanation = escape(part.heading), escape(part.explanation)
    if part.file is None:
        return f"<section><h2>{heading}</h2><p class='none'>{explanation}</p></section>"
    picture = f"<img src='{inline((folder / part.file).read_bytes())}' alt='{heading}'>"
    return f"<section><h2>{heading}</h2><figure><figcaption>{explanation}</figcaption>{picture}</figure></section>"


# Photographs must not be inverted in dark mode: the pictures stay on their white.
_OWN_CSS = """
main figure { text-align: left; }
main figure img { filter: none; mix-blend-mode: normal; background: #fff; border-radius: 8px; max-height: none; }
figcaption { max-width: 52em; margin-bottom: 16px; }
"""


def branch_rows(blocks: Sequence[BlockBranches]) -> list[dict[str, Any]]:
    """Plain values of each block: stage, block, and mean and standard deviation over the channels by branch."""
    return [
        {
            "stage": block.stage,
            "block": block.block,
            "branches": {
                name: {"mean": round(float(weights.mean()), 6), "std": round(float(weights.std()), 6)}
                for name, weights in zip(block.names, block.weights, strict=True)
            },
        }
        for block in blocks
    ]


def branch_table(blocks: Sequence[BlockBranches]) -> "Table":
    """For the terminal: mean and standard deviation of each branch's weight by stage, over blocks and channels."""
    names = [name for name in figures.BRANCH_COLOURS if any(name in block.names for block in blocks)]
    stages = sorted({block.stage for block in blocks})
    rows = [(str(stage), *(_mean_and_spread(blocks, stage, name) for name in names)) for stage in stages]
    return table("Branch weights", [*text_columns("stage"), *number_columns(*names)], rows)


def _mean_and_spread(blocks: Sequence[BlockBranches], stage: int, name: str) -> str:
    found = [b.weights[b.names.index(name)] for b in blocks if b.stage == stage and name in b.names]
    if not found:
        return ""
    weights = np.concatenate(found)
    return f"{weights.mean():.3f} ± {weights.std():.3f}"
