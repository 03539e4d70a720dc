"""A calibration for people and for programs: tables, JSON and the reliability picture."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphmlp.display.reliability import draw_reliability
from morphmlp.display.tables import number_columns, table, text_columns
from morphmlp.formatting import encodable, percent
from morphmlp.tasks.classification.calibration.calibrate import Calibration, Measures
from morphmlp.tasks.classification.calibration.measures import wilson_interval

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

FEW_ANSWERS = 100  # the 95 % interval of a share of 0.95 is then 0.09 wide


def calibration_tables(calibration: Calibration) -> "list[RenderableType]":
    """For the terminal: the figures before and after, what becomes of the probes, and what to keep in mind."""
    from rich.text import Text

    return [_figures(calibration), _probes(calibration), Text(encodable("\n".join(_notes(calibration))))]


def _figures(calibration: Calibration) -> "Table":
    pair = (calibration.before, calibration.after)
    rows = [
        ("temperature", *(f"{m.temperature:.3f}" for m in pair)),
        ("threshold", *("none" if m.threshold is None else f"{m.threshold:.5g}" for m in pair)),
        ("negative log-likelihood", *(f"{m.nll:.3f}" for m in pair)),
        ("calibration error (ECE)", *(percent(m.ece) for m in pair)),
        ("refused", *(percent(m.refusal.share_refused) for m in pair)),
        ("precision of the rest", *(percent(m.refusal.precision) for m in pair)),
        ("F1", *(percent(m.refusal.f1) for m in pair)),
    ]
    unknown = [
        ("unknown: refused", *(percent(m.unknown_refused) for m in pair)),
        ("unknown: AUROC of the probability", *(_decimal(m.auroc) for m in pair)),
        ("unknown: AUROC of the energy", *(_decimal(m.auroc_energy) for m in pair)),
    ]
    counts = f"{calibration.num_samples:,} {calibration.unit}"
    more = f" and {calibration.num_unknown:,} of no class" if calibration.num_unknown else ""
    columns = [*text_columns(""), *number_columns("before", "after")]
    return table(f"{counts}{more}", columns, rows, *([unknown] if calibration.num_unknown else []))


def _decimal(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"


def _probes(calibration: Calibration) -> "Table":
    rows = [
        (before.probe, before.label, percent(before.probability), percent(after.probability), after.answer)
        for before, after in zip(calibration.before.probes, calibration.after.probes, strict=True)
    ]
    columns = [*text_columns("shown", "best class"), *number_columns("before", "after"), *text_columns("answer")]
    return table("Clips that show nothing", columns, rows)


def _notes(calibration: Calibration) -> list[str]:
    after = calibration.after
    notes = []
    if calibration.at_bound:
        how = "all answers are right" if calibration.likeliest < 1 else "the answers are no better than chance"
        notes.append(
            f"no temperature is the best, as {how}, or nearly so; {after.temperature:g} is taken: "
            "give more samples, or harder ones"
        )
    if after.threshold is None:
        notes.append("no threshold is set: not one answer is right")
    else:
        if not after.refusal.share_refused:
            wanted = calibration.wanted_precision
            other = "--at_precision, or --unknown" if wanted is None else "a higher --at_precision"
            notes.append(f"the threshold refuses none of these; for a stricter one give {other}")
        low, high = wilson_interval(after.refusal.hits, after.refusal.answered)
        few = "few, so take it for a rough figure: " if after.refusal.answered < FEW_ANSWERS else ""
        notes.append(
            f"the precision is that of {after.refusal.answered:,} answers, {few}"
            f"in the long run {percent(low)} to {percent(high)} (95 % interval)"
        )
    notes.append(
        "these are figures of the samples that it was fitted on; `morphmlp evaluate` on others tells how it holds"
    )
    if calibration.broken:
        path, reason = calibration.broken[0]
        notes.append(f"{len(calibration.broken)} cannot be read and count nowhere, such as {path}: {reason}")
    return notes


def summary(calibration: Calibration) -> dict[str, Any]:
    """The figures as plain values, ready for JSON."""
    after = calibration.after
    return {
        "temperature": after.temperature,
        "threshold": after.threshold,
        "at_precision": calibration.wanted_precision,
        "at_bound": calibration.at_bound,
        calibration.unit: calibration.num_samples,
        "unknown": calibration.num_unknown,
        "precision_interval": list(wilson_interval(after.refusal.hits, after.refusal.answered)),
        "before": _values(calibration.before),
        "after": _values(after),
        "not_read": [{"path": str(path), "reason": reason} for path, reason in calibration.broken],
    }


def _values(measures: Measures) -> dict[str, Any]:
    refusal = measures.refusal
    return {
        "temperature": measures.temperature,
        "threshold": measures.threshold,
        "nll": measures.nll,
        "ece": measures.ece,
        "answered": refusal.answered,
        "share_refused": refusal.share_refused,
        "precision_of_rest": refusal.precision,
        "recall": refusal.recall,
        "f1": refusal.f1,
        "unknown_refused": measures.unknown_refused,
        "auroc": measures.auroc,
        "auroc_energy": measures.auroc_energy,
        "probes": [asdict(probe) for probe in measures.probes],
        "bins": [b._asdict() for b in measures.bins],
    }


def plot_reliability(calibration: Calibration, png_path: str | Path) -> None:
    """Draws accuracy over probability, before and after."""
    before, after = calibration.before, calibration.after
    draw_reliability(
        png_path,
        {
            f"before: ECE {percent(before.ece)}": before.bins,
            f"temperature {after.temperature:.2f}: ECE {percent(after.ece)}": after.bins,
        },
        title=f"Are the probabilities right? {calibration.num_samples:,} {calibration.unit}",
        threshold=after.threshold,
    )
