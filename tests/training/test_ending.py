"""The end of a run: the model beside simple means, which never costs the run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from morphmlp.config import SplitConfig
from morphmlp.tasks.classification.review import comparisons
from morphmlp.training import ending


@pytest.fixture(scope="module")
def set_of_four(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.copy_data(data, tmp_path_factory.mktemp("four") / "set", classes=4)


def train(data: Path, out: Path, *options: object):
    return tiny.run_command("train", data, "--out", out, *tiny.OPTIONS, *options)


def test_a_run_ends_with_three_accuracies_and_keeps_them(set_of_four: Path, tmp_path: Path):
    process = train(set_of_four, tmp_path / "run")
    assert process.returncode == 0, process.stderr
    shown = process.stdout
    assert shown.index("checkpoint: ") < shown.index("on the same 4 videos, with 95 % intervals:")
    for words in ("the commonest class (", "shrunk pixels (8 frames of 16 x 16 px", "this model", "What to try: "):
        assert words in shown
    kept = json.loads((tmp_path / "run" / "comparisons.json").read_text())
    assert (kept["videos"], kept["training"]) == (4, 8)
    assert "\n".join(kept["lines"]) in shown
    process = train(set_of_four, tmp_path / "run", "--overwrite", "--json", "--baseline", "false")
    assert json.loads(process.stdout)["comparisons"] is None
    assert not (tmp_path / "run" / "comparisons.json").exists()


def test_what_to_try_is_what_the_run_has_not_tried(data: Path):
    config = tiny.run_config(data)
    assert "--init with weights, --tune MINUTES, more --epochs" in ending.advice(config)
    assert "--init" not in ending.advice(replace(config, init="rendered"))
    assert "--tune" not in ending.advice(replace(config, split=SplitConfig(folds=2, fold=1)))
    assert "--tune" not in ending.advice(replace(config, chosen=("tuned: fresh weights, by 9 trials",)))
    probe = replace(config, init="rendered", train=replace(config.train, probe=True))
    assert "--epochs" not in ending.advice(probe)
    assert "without --probe" in ending.advice(probe)


def test_resuming_a_finished_run_keeps_its_comparisons(set_of_four: Path, tmp_path: Path):
    train(set_of_four, tmp_path / "run", "--epochs", 1)
    before = (tmp_path / "run" / "comparisons.json").read_bytes()
    process = tiny.run_command("train", "--out", tmp_path / "run", "--resume")
    assert process.returncode == 0, process.stderr
    assert "on the same 4 videos, with 95 % intervals:" in process.stdout
    assert (tmp_path / "run" / "comparisons.json").read_bytes() == before
    (tmp_path / "run" / "comparisons.json").unlink()
    process = tiny.run_command("train", "--out", tmp_path / "run", "--resume", "--baseline", "true")
    assert "the run was over already; `morphmlp evaluate " in process.stderr


def test_json_has_the_comparisons(set_of_four: Path, tmp_path: Path):
    process = train(set_of_four, tmp_path / "run", "--json", "--epochs", 1)
    found = json.loads(process.stdout)
    kept = json.loads((tmp_path / "run" / "comparisons.json").read_text())
    assert found["comparisons"] | {"lines": kept["lines"]} == kept
    assert (
        found["comparisons"]["model"]["accuracy"] == found[f"{'last' if found['report'] == 'last' else 'best'}_score"]
    )


def test_a_comparison_that_fails_does_not_cost_the_run(
    set_of_four: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(*arguments: object, **options: object):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(comparisons, "read_shrunk", fails)
    process = train(set_of_four, tmp_path / "run", "--epochs", 1)
    assert process.returncode == 0
    assert "checkpoint: " in process.stdout
    assert "the run is complete, but was not compared with simple means: ZeroDivisionError: by zero" in process.stderr


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_ctrl_c_ends_the_comparison_and_leaves_the_finished_run_shown(
    options: list[object], set_of_four: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*arguments: object, **options: object):
        raise KeyboardInterrupt

    monkeypatch.setattr(ending, "_compare", interrupted)
    process = train(set_of_four, tmp_path / "run", "--epochs", 1, *options)
    assert process.returncode == 130
    assert "best" in process.stdout or "checkpoint: " in process.stdout
    if options:
        assert json.loads(process.stdout)["comparisons"] is None
    assert (tmp_path / "run" / "last" / "model.safetensors").is_file()
