"""What is shown of an ablation: which designs are told apart, as a table, a plot and JSON."""

import json
import math
from pathlib import Path

import pytest

from morphmlp.analysis.paper.agreement import agreement_tables, compare_orders, mean, plot_agreement, report, spread
from morphmlp.analysis.paper.trained import ProxyResult


def result(name: str, published: float, *top1: float | None) -> ProxyResult:
    return ProxyResult(name, {}, {"SSV1 top-1": published}, 1_000_000, 2_000_000, list(top1), 1.0)


def test_pairs_are_compared_by_their_differences_seed_by_seed():
    # Seeds differ more than designs do, but b is 0.02 above a with every seed, and c is above a by chance.
    rows = [result("a", 50, 0.30, 0.50, 0.70), result("b", 51, 0.32, 0.52, 0.721), result("c", 49, 0.60, 0.50, 0.55)]
    verdicts = {tuple(pair["rows"]): pair["verdict"] for pair in compare_orders(rows, "SSV1 top-1")}
    assert verdicts == {("a", "b"): "agrees", ("a", "c"): "not told apart", ("b", "c"): "not told apart"}
    rows[1] = result("b", 49, 0.32, 0.52, 0.721)
    assert compare_orders(rows, "SSV1 top-1")[0]["verdict"] == "disagrees"


def test_a_difference_that_three_seeds_may_show_by_chance_is_not_told_apart():
    # Differences 0.01, 0.02, 0.03: the mean is 3.5 standard errors from zero, which t with 2 degrees needs 4.3 of.
    rows = [result("a", 51, 0.31, 0.42, 0.53), result("b", 50, 0.30, 0.40, 0.50)]
    assert compare_orders(rows, "SSV1 top-1")[0]["verdict"] == "not told apart"
    rows[0] = result("a", 51, 0.315, 0.42, 0.525)  # 0.015, 0.02, 0.025: 6.9 standard errors
    assert compare_orders(rows, "SSV1 top-1")[0]["verdict"] == "agrees"


def test_one_seed_tells_nothing_apart():
    (pair,) = compare_orders([result("a", 50, 0.1), result("b", 51, 0.9)], "SSV1 top-1")
    assert pair["verdict"] == "not told apart"


def test_mean_and_spread_are_those_of_the_seeds():
    assert mean(result("a", 50, 0.2, 0.4, 0.6)) == pytest.approx(0.4)
    assert spread(result("a", 50, 0.2, 0.4, 0.6)) == pytest.approx(0.2)
    assert math.isnan(spread(result("a", 50, 0.2)))
    assert math.isnan(mean(result("a", 50, 0.2, None)))


def test_a_report_is_valid_json_even_with_a_design_that_diverged():
    rows = [result("a", 50, 0.2, None), result("b", 51, 0.3, 0.4)]
    values = json.loads(json.dumps(report(7, rows, column="SSV1 top-1", facts={"steps": 3}), allow_nan=False))
    assert values["rows"][0]["mean"] is None
    assert values["rows"][1]["mean"] == pytest.approx(0.35)
    assert values["note"].startswith("a small-scale proxy")


def test_the_table_and_the_plot_name_every_design(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from morphmlp.display.tables import print_all

    rows = [result("left", 50.6, 0.2, 0.4), result("right", 49.8, 0.1, None)]
    print_all(agreement_tables(7, rows, "SSV1 top-1"))
    shown = capsys.readouterr().out
    for text in ("left", "50.6", "30.0 ± 14.1", "diverged", "1.00 M", "not told apart: 1 of 1: left / right"):
        assert text in shown
    plot_agreement(7, rows, "SSV1 top-1", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
