"""The table of tasks: every task says what the rest of the package asks, from its data to an evaluation."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from morphmlp.checkpoints.folder import CheckpointInfo, save
from morphmlp.config import InputConfig, ModelConfig, RunConfig, SplitConfig, TrainConfig
from morphmlp.config.run import READINGS
from morphmlp.data.sets.labelled import LabelledSet
from morphmlp.errors import CheckpointError, DataError
from morphmlp.inference.device import Execution
from morphmlp.models.zoo import build_model
from morphmlp.tasks.registry import TASKS, figure_names, load_for_task, task_of_data, task_of_kind
from morphmlp.tasks.segmentation.annotations import MaskSet
from morphmlp.tasks.task import Scores, Task

every_task = pytest.mark.parametrize("name", TASKS)
INPUTS = {"classification": tiny.INPUT, "segmentation": InputConfig(crop=(64, 64), resize=64, fit="whole")}
KINDS = {"classification": {}, "segmentation": {"temporal": False, "frames": 1, "decoder_width": 8}}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose right half is another class."""
    root = tmp_path_factory.mktemp("scenes")
    labels = np.tile(np.arange(64) // 32, (48, 1)).astype(np.uint8)
    for folder, pixels in (("images", 100 * np.stack([labels] * 3, axis=-1)), ("annotations", labels)):
        (root / folder).mkdir()
        for number in range(5):
            Image.fromarray(pixels).save(root / folder / f"{number}.png")
    (root / "classes.txt").write_text("left\nright\n", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def data_of(data: Path, scenes: Path) -> dict[str, Path]:
    """For each task data that it trains on; a new task needs an entry here and in the tables above."""
    return {"classification": data, "segmentation": scenes}


def run_config(task: Task, data: Path) -> RunConfig:
    train, _ = task.read_sets(data, SplitConfig(), task.reading())
    fields = {"num_classes": len(train.classes), "name": "tiny", "task": task.name} | KINDS[task.name]
    settings = TrainConfig(epochs=1, batch_size=4, workers=0)
    return RunConfig(str(data), ModelConfig.from_dict(tiny.MODEL | fields), INPUTS[task.name], settings)


def save_model(config: RunConfig, folder: Path, classes: list[str]) -> Path:
    torch.manual_seed(0)
    save(build_model(config.model), folder, CheckpointInfo(input=config.input, labels=classes))
    return folder


@every_task
def test_the_data_of_a_task_is_recognised(name: str, data_of: dict[str, Path]):
    assert task_of_data(data_of[name]) is TASKS[name]


@every_task
def test_the_fields_that_a_task_names_exist(name: str):
    task = TASKS[name]
    assert READINGS[task.reading_part] is task.reading
    assert set(READINGS) <= set(RunConfig.__dataclass_fields__)
    assert task.reading_part in task.options
    assert task.metric in task.figures
    assert all(task_of_kind(kind) is task for kind in task.default_models)
    assert set(task.head_fields) <= set(ModelConfig.__dataclass_fields__)
    assert figure_names().items() >= task.figures.items()  # no other task has the name of a figure for another


@every_task
def test_a_task_trains_on_its_data(name: str, data_of: dict[str, Path]):
    task, data = TASKS[name], data_of[name]
    config = run_config(task, data)
    sets = task.read_sets(data, SplitConfig(), task.reading())
    learnt = task.for_training(config, sets)
    model = build_model(config.model)
    assert f"{task.last_layer}.weight" in model.state_dict()
    batch = next(iter(learnt.loader([[0, 1, 2]])))  # type: ignore[arg-type]
    assert learnt.weight(batch) > 0
    assert learnt.loss(model, batch, torch.device("cpu")).requires_grad
    scores = learnt.evaluate(model, lambda done, total: None)
    assert scores.figures.keys() == {*task.figures, "loss"}
    assert (scores.evaluated, learnt.metric) == (learnt.num_val, task.metric)
    assert learnt.reason_for_nan().startswith("no")


@every_task
def test_a_task_holds_a_part_to_choose_the_epoch_by_out_of_its_training_part(name: str, data_of: dict[str, Path]):
    task, data = TASKS[name], data_of[name]
    config = run_config(task, data)
    sets = task.read_sets(data, SplitConfig(), task.reading())
    whole = task.for_training(config, sets)
    learnt = task.for_training(replace(config, train=replace(config.train, select_fraction=0.3)), sets)
    assert (whole.chosen_on, whole.num_chosen_on) == ("val", whole.num_val)
    assert learnt.chosen_on == "select"
    assert len(learnt.train_paths) + learnt.num_chosen_on == len(whole.train_paths)
    assert learnt.fingerprint != whole.fingerprint
    scores = learnt.evaluate(build_model(config.model), lambda done, total: None, part="select")
    assert scores.evaluated == learnt.num_chosen_on > 0


@every_task
def test_a_checkpoint_goes_through_evaluate(name: str, data_of: dict[str, Path], tmp_path: Path):
    task, data = TASKS[name], data_of[name]
    train, _ = task.read_sets(data, SplitConfig(), task.reading())
    checkpoint = save_model(run_config(task, data), tmp_path / "model", train.classes)
    process = tiny.run_command("evaluate", checkpoint, data, "--workers", "0", "--json")
    assert process.returncode == 0, process.stderr
    evaluation = task.evaluate(checkpoint, data, split=None, options={}, execution=Execution(workers=0))
    assert json.loads(process.stdout) == task.report().summary(evaluation)
    assert sorted(task.output_files) == tiny.files_below(tmp_path / "model-evaluation")
    assert process.stderr.endswith(f"{task.output_files[-1]} are in {tmp_path / 'model-evaluation'}\n")


@every_task
def test_options_of_other_tasks_are_refused(name: str, data_of: dict[str, Path], tmp_path: Path):
    task = TASKS[name]
    [other] = {other.reading_part for other in TASKS.values()} - {task.reading_part}
    checkpoint = save_model(run_config(task, data_of[name]), tmp_path / "model", [])
    process = tiny.run_command("evaluate", checkpoint, data_of[name], f"--{other}.labels", "a.txt")
    assert process.returncode == 1
    assert f"is a {task.model_noun}, which does not take --{other}" in process.stderr


def test_a_checkpoint_of_another_task_names_the_verb_for_it(data_of: dict[str, Path], tmp_path: Path):
    config = run_config(TASKS["segmentation"], data_of["segmentation"])
    checkpoint = save_model(config, tmp_path / "model", [])
    assert load_for_task(checkpoint, "segmentation")[0].config == config.model
    with pytest.raises(CheckpointError, match=r"is a segmenter \(tiny\); use `morphmlp segment`"):
        load_for_task(checkpoint, "classification")


def test_sets_say_what_kind_of_files_they_hold():
    assert LabelledSet([], []).kind == "video"
    assert MaskSet([], [], TASKS["segmentation"].reading()).kind == "mask"  # type: ignore[arg-type]


def test_a_score_of_nan_ends_a_run_with_the_reason_of_its_task(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from morphmlp.tasks.classification.training import ClassificationTask
    from morphmlp.training.run import train

    nothing = Scores({"top1": float("nan")}, evaluated=0, broken=[])
    monkeypatch.setattr(ClassificationTask, "evaluate", lambda *_, **__: nothing)
    monkeypatch.setattr(ClassificationTask, "reason_for_nan", lambda task: f"no {task.unit[:-1]} to score")
    with pytest.raises(DataError, match="no video to score"):
        train(tiny.run_config(data), tmp_path / "run")
    assert tiny.read_log(tmp_path / "run")[-1]["val_top1"] is None
