"""What version 0.1 left still loads: its code wrote `tests/recorded/version_0_1`, before the files moved to rooms.

The run was stopped by SIGTERM after step 7 of 15; `whole_log.jsonl` is the log of the same run, never stopped.
"""

import json
import shutil
from pathlib import Path

import pytest
import tiny
import torch

import morphmlp
from morphmlp.training.run import resume

RECORDED = Path(__file__).parents[1] / "recorded" / "version_0_1"
LOGITS = [
    *(0.04174688458442688, 0.05109609290957451, 0.03012869507074356, -0.0831984356045723, 0.07310707867145538),
    *(0.0019098628545179963, -0.05476657301187515, -0.005488682072609663, 0.0933857187628746, 0.04815778136253357),
]


def test_checkpoint_gives_the_logits_that_it_gave():
    model = morphmlp.load(RECORDED / "checkpoint").eval()
    clip = torch.linspace(-2, 2, 3 * 4 * 32 * 32).reshape(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert model(clip)[0].tolist() == pytest.approx(LOGITS, abs=1e-6)


def test_stopped_run_goes_on_as_it_would_have(data: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(RECORDED / "run", run)
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    (run / "config.json").write_text(json.dumps(config | {"data": str(data)}), encoding="utf-8")
    shutil.copy(RECORDED / "whole_log.jsonl", tmp_path / "log.jsonl")
    resume(run)
    steps, losses = zip(*tiny.losses(run), strict=True)
    whole_steps, whole_losses = zip(*tiny.losses(tmp_path), strict=True)
    assert steps == whole_steps
    assert losses == pytest.approx(whole_losses, rel=1e-5)  # other processors round otherwise
