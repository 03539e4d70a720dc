"""`--engine auto` follows figures: what is chosen, from which, and what becomes of figures that cannot be read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from morphmlp.errors import ConfigError
from morphmlp.inference import engines
from morphmlp.inference.engines import Job, Speeds, fastest, require_engine, work_per_clip
from morphmlp.models.zoo import model_config

NANO, LARGE = 0.02, 5.0
HERE = "amd avx512"


def speeds(
    processor: str = HERE, *, work: float = LARGE, batch: int = 1, precision: str = "fp32", **ms: float
) -> Speeds:
    return Speeds(processor, "some", work, batch, precision, {"torch": 100.0} | ms, {"openvino": 30.0})


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[Speeds]:
    """The figures that are known; a test puts its own in."""
    rows: list[Speeds] = []
    monkeypatch.setattr(engines, "known_speeds", lambda: rows)
    return rows


def chosen(num_clips: int = 1, *, work: float = LARGE, precision: str = "fp32", processor: str = HERE, **given) -> str:
    given = {"free": {"optimized"}, "payable": {"openvino"}} | given
    return fastest(Job(work, precision, num_clips), processor=processor, **given)


def test_an_engine_that_is_slower_than_pytorch_is_never_taken(known: list[Speeds]):
    known += [speeds(work=NANO, optimized=116.0), speeds(optimized=80.0)]
    assert (chosen(work=NANO), chosen(work=LARGE)) == ("torch", "optimized")


def test_a_gain_within_what_runs_differ_by_is_none(known: list[Speeds]):
    known += [speeds(optimized=97.0)]
    assert chosen() == "torch"


def test_an_export_is_made_when_its_seconds_are_less_than_those_that_it_saves(known: list[Speeds]):
    known += [speeds(optimized=80.0, openvino=50.0)]  # saves 30 ms a clip against optimized, and takes 30 s
    assert [chosen(n) for n in (1, 999, 1001)] == ["optimized", "optimized", "openvino"]
    assert chosen(1, free={"optimized", "openvino"}) == "openvino"  # it is there already
    assert chosen(10**6, payable=()) == "optimized"  # it cannot be made


def test_a_larger_model_takes_longer_so_that_its_export_pays_earlier(known: list[Speeds]):
    known += [speeds(work=1.0, openvino=50.0)]  # saves 50 ms a clip: pays from 600 clips on
    assert [chosen(n, work=4.0) for n in (149, 151)] == ["torch", "openvino"]


def test_an_export_of_unknown_duration_is_not_made(known: list[Speeds]):
    known += [Speeds(HERE, "some", LARGE, 1, "fp32", {"torch": 100.0, "openvino": 10.0})]
    assert chosen(10**6) == "torch"
    assert chosen(free={"openvino"}) == "openvino"


def test_an_export_takes_as_long_as_the_longest_of_the_same_model_where_a_row_does_not_say(known: list[Speeds]):
    known += [Speeds(HERE, "some", LARGE, 1, "fp32", {"torch": 100.0, "openvino": 10.0})]  # saves 90 ms a clip
    known += [Speeds("intel amx", "other", LARGE, 1, "bf16", {"torch": 100.0}, {"openvino": 1.0})]
    assert chosen(10**6) == "torch"
    for batch, seconds in ((1, 45.0), (16, 90.0)):
        known += [Speeds("intel amx", "some", NANO, batch, "bf16", {"torch": 100.0}, {"openvino": seconds})]
    assert [chosen(n) for n in (999, 1001)] == ["torch", "openvino"]


def test_of_less_work_than_was_measured_nothing_is_known(known: list[Speeds]):
    known += [speeds(work=NANO, optimized=50.0)]
    assert (chosen(work=NANO / 2), chosen(work=NANO)) == ("torch", "optimized")


def test_the_figures_of_the_nearest_model_and_batch_count(known: list[Speeds]):
    known += [speeds(work=NANO, batch=1, optimized=116.0), speeds(work=NANO, batch=16, optimized=60.0)]
    assert [chosen(n, work=NANO) for n in (1, 3, 5, 1000)] == ["torch", "torch", "optimized", "optimized"]


def test_each_precision_has_its_own_figures(known: list[Speeds]):
    known += [speeds(optimized=120.0), speeds(precision="bf16", optimized=30.0)]
    assert (chosen(), chosen(precision="bf16"), chosen(precision="fp16")) == ("torch", "optimized", "torch")


def test_on_an_unknown_machine_only_what_pays_on_all_known_ones_is_taken(known: list[Speeds]):
    known += [speeds("intel amx", optimized=80.0), speeds("amd avx512", optimized=50.0)]
    assert chosen(processor="arm64") == "optimized"
    known[0] = speeds("intel amx", optimized=110.0)
    assert (chosen(processor="arm64"), chosen(processor="amd avx512")) == ("torch", "optimized")


def test_on_an_unknown_machine_an_export_that_is_kept_does_not_stop_what_pays_on_all(known: list[Speeds]):
    known += [speeds("intel amx", optimized=80.0, openvino=50.0), speeds("amd avx512", optimized=70.0)]
    assert chosen(processor="arm64", free={"optimized", "openvino"}) == "optimized"
    known[1] = speeds("amd avx512", optimized=70.0, openvino=60.0)
    assert chosen(processor="arm64", free={"optimized", "openvino"}) == "openvino"


def test_work_is_that_of_tokens_and_widths():
    config = model_config("morphmlp_video_nano")
    assert work_per_clip(config, 64, 64) == pytest.approx(2_097_152 * 10 / 1e9)
    stages = [2 * 2 * 2 * 32**2, 2 * 64**2, 4 * 128**2, 2 * 256**2]  # of 6 x 8 px: 1.5 rows of tokens are two
    assert work_per_clip(replace(config, temporal=False, frames=1), 6, 8) == pytest.approx(sum(stages) / 1e9)


def test_an_unknown_engine_is_named():
    with pytest.raises(ConfigError, match="engine is 'tflite'; allowed: auto, torch, optimized, onnxruntime, openvino"):
        require_engine("tflite")


# ------------------------------------------------------------------------------------------------------- the figures


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's file, in a cache of the test's own."""
    monkeypatch.setenv("MORPHMLP_CACHE", str(tmp_path))
    return tmp_path / "engines" / "speeds.json"


def test_the_package_s_figures_can_be_read_and_lose_nothing_on_nano():
    shipped = engines.shipped_speeds()
    assert {(row.processor, row.precision) for row in shipped} >= {("intel amx", "fp32"), ("intel amx", "bf16")}
    assert all(row.source for row in shipped)
    job = Job(work_per_clip(model_config("morphmlp_video_nano"), 64, 64), "fp32")
    assert fastest(job, free={"optimized"}, processor="intel amx") == "torch"


def test_own_figures_come_before_the_package_s_and_replace_earlier_ones(own: Path):
    engines.save_speeds([speeds(optimized=50.0), speeds(batch=16, optimized=60.0)])
    assert engines.save_speeds([speeds(optimized=40.0)]) == own
    first, second, *others = engines.known_speeds()
    assert (first.ms["optimized"], second.ms["optimized"]) == (40.0, 60.0)
    assert tuple(others) == engines.shipped_speeds()


@pytest.mark.parametrize("text", ["", "[]", '{"speeds": [{"processor": "x"}]}', None])
def test_figures_that_cannot_be_read_are_named_and_do_not_count(own: Path, text: str | None, capsys):
    own.parent.mkdir(parents=True)
    zero = {"speeds": [vars(speeds(optimized=0.0))]}
    own.write_text(json.dumps(zero) if text is None else text)
    assert tuple(engines.known_speeds()) == engines.shipped_speeds()
    assert capsys.readouterr().err == (
        f"{own} cannot be read, so its figures do not count: remove it, or write it anew by `bench --save`\n"
    )
