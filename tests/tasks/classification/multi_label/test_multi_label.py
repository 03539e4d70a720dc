"""A multi-label classifier from its lists to its answers: training, evaluation, prediction, and what is refused."""

import asyncio
import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from morphmlp.checkpoints.folder import CheckpointInfo, load, load_config, save
from morphmlp.checkpoints.hub import CONFIG_FILE
from morphmlp.config import AugmentConfig, ListConfig, RunConfig, TrainConfig
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.background import with_background
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.read import read_training_sets
from morphmlp.errors import ConfigError, DataError
from morphmlp.inference.device import Execution
from morphmlp.models.zoo import build_model
from morphmlp.tasks.classification.multi_label.evaluation import MultiLabelEvaluation, evaluate_checkpoint
from morphmlp.tasks.classification.multi_label.report import evaluation_tables, summary
from morphmlp.tasks.classification.multi_label.task import MultiLabel
from morphmlp.tasks.classification.multi_label.training import MultiLabelTask
from morphmlp.tasks.classification.prediction import join_views
from morphmlp.tasks.classification.predictor import Prediction, Predictor
from morphmlp.tasks.classification.report import as_row
from morphmlp.tasks.classification.training import ClassificationTask, ClipMixer
from morphmlp.training.run import resume, train

QUIET = Execution(workers=0)


def run_config(data: Path, **settings: object) -> RunConfig:
    classes = read_training_sets(data)[0].classes
    values = {"epochs": 1, "batch_size": 8, "workers": 0, "warmup_epochs": 0.5} | settings
    return RunConfig(str(data), tiny.model_config(len(classes)), tiny.INPUT, TrainConfig.from_dict(values))


@pytest.fixture(scope="module")
def run(several_labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    result = train(run_config(several_labels, epochs=2, class_weights="effective", focal=1.0), out)
    assert result.metric == "map"
    return out


@pytest.fixture(scope="module")
def trained(run: Path) -> Path:
    return run / "best"


def test_a_run_finds_several_labels_and_keeps_what_answers_depend_on(run: Path, several_labels: Path):
    config, info = load_config(run / "best")
    assert config.task == "multi_label"
    assert info.input.aggregation == "probabilities"
    assert info.thresholds_from == "the 10 validation videos"
    assert info.thresholds is not None
    assert len(info.thresholds) == config.num_classes
    assert info.training["lists"]["multi_label"] is True
    best = max(line["val_map"] for line in tiny.read_log(run) if "val_map" in line)
    assert info.training["val_map"] == best
    assert {"val_map", "val_f1", "val_loss"} <= tiny.read_log(run)[-1].keys()
    assert load_config(run / "last")[1].thresholds is not None


def test_a_finished_run_resumes_as_it_was(run: Path):
    before = (run / "last" / CONFIG_FILE).read_bytes()
    assert resume(run).metric == "map"
    assert (run / "last" / CONFIG_FILE).read_bytes() == before


def test_the_best_epoch_is_measured_by_its_own_thresholds(
    several_labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Those of the last epoch are of other outputs, and so are those that a resumed run would fit anew."""
    evaluated, num_done = MultiLabelTask.evaluate, iter(range(1, 100))

    def falling(*arguments: Any, part: str = "val"):
        scores = evaluated(*arguments, part=part)
        worse = {"map": 1 / next(num_done)} if part == "select" else {}
        return replace(scores, figures=scores.figures | worse)

    monkeypatch.setattr(MultiLabelTask, "evaluate", falling)
    run = tmp_path / "run"
    result = train(run_config(several_labels, epochs=3, select_fraction=0.3, report="best"), run)
    assert (result.best_epoch, result.last_epoch) == (1, 3)
    infos = [load_config(run / name)[1] for name in ("best", "last")]
    assert infos[0].thresholds != infos[1].thresholds
    finals = {line["final"]: line["val_f1"] for line in tiny.read_log(run) if "final" in line}
    for name in ("best", "last"):
        assert finals[name] == evaluate_checkpoint(run / name, several_labels, execution=QUIET).macro_f1()
    log = tiny.read_log(run)
    resume(run)  # there is nothing left to train: what is evaluated is evaluated anew
    assert tiny.read_log(run) == log
    assert [load_config(run / name)[1] for name in ("best", "last")] == infos


def test_a_balanced_draw_is_refused(several_labels: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"train\.balanced is True; .* --class_weights balanced"):
        train(run_config(several_labels, balanced=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_task_refuses_sets_of_the_other_sort(several_labels: Path):
    sets, config = read_training_sets(several_labels), run_config(several_labels)
    with pytest.raises(ConfigError, match=r"model\.task is 'classification', but .* has several labels a row"):
        ClassificationTask(config, sets)


def test_weights_are_those_of_the_training_part(several_labels: Path):
    sets = read_training_sets(several_labels)
    config = MultiLabel().completed(run_config(several_labels, class_weights="balanced"), sets)
    task = MultiLabelTask(config, sets)
    counts = [sum(label in sample.classes for sample in sets[0].samples) for label in range(len(task.classes))]
    assert task.class_weights is not None
    assert task.class_weights.tolist() == pytest.approx([(20 - n) / n for n in counts])
    assert task.notes[0].startswith(
        f"several labels a video: {sum(counts) / 20:.1f} of {len(counts)} classes on average"
    )
    assert task.notes[0].endswith("and 1 of 20 videos have none")


def test_mixed_clips_have_mixed_rows_of_labels():
    clips, labels = torch.rand(4, 3, 2, 8, 8), torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])
    torch.manual_seed(0)
    mixed, soft = ClipMixer(AugmentConfig(mixup=0.8, cutmix=0), num_classes=3)(clips, labels)
    share = (mixed[0] - clips[-1]).flatten()[0] / (clips[0] - clips[-1]).flatten()[0]
    torch.testing.assert_close(soft, share * labels + (1 - share) * labels.roll(1, 0))
    alone = ClipMixer(AugmentConfig(mixup=0, cutmix=0), num_classes=3)(clips, labels)[1]
    assert torch.equal(alone, labels.float())


def test_views_are_joined_by_the_mean_of_their_sigmoids():
    logits = np.array([[0.0, np.log(3)], [np.log(3), 1000.0]], np.float32)
    joined = join_views(logits, num_videos=1, aggregation="probabilities", multi_label=True)
    np.testing.assert_allclose(joined, [[(0.5 + 0.75) / 2, (0.75 + 1) / 2]], rtol=1e-6)
    assert joined.dtype == np.float32
    single = join_views(-logits[1:], num_videos=1, aggregation="logits", multi_label=True)
    np.testing.assert_allclose(single, [[0.25, 0]], rtol=1e-6)


def test_an_evaluation_writes_figures_of_the_whole_and_of_classes(trained: Path, several_labels: Path, tmp_path: Path):
    process = tiny.run_command("evaluate", trained, several_labels, "--workers", "0", "--out", tmp_path / "out")
    assert process.returncode == 0, process.stderr
    assert "thresholds: fitted on the 10 validation videos; mAP does not depend on them" in process.stdout
    assert tiny.files_below(tmp_path / "out") == ["classes.png", "per_class.csv", "predictions.csv", "summary.json"]
    values = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    config, info = load_config(trained)
    assert values["map"] == pytest.approx(info.training["val_map"])
    assert [row["threshold"] for row in values["classes"]] == info.thresholds
    with open(tmp_path / "out" / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["labels"] == ""
    assert rows[1]["labels"].split("|") == sorted(Path(rows[1]["path"]).parent.name.split("_"))
    for row in rows:
        above = [
            name for name, least in zip(info.labels, info.thresholds or [], strict=True) if float(row[name]) >= least
        ]
        assert row["predicted"] == "|".join(above)
    with open(tmp_path / "out" / "per_class.csv", newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == config.num_classes


def known_evaluation() -> MultiLabelEvaluation:
    samples = [Sample(Path(f"{i}.mp4"), -1, labels=labels) for i, labels in enumerate([(0, 1), (0,), ()])]
    probabilities = np.array([[0.9, 0.3, 0.1], [0.8, 0.6, 0.2], [0.4, 0.2, 0.6]])
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    return MultiLabelEvaluation(["a", "b", "c"], samples, probabilities, truth, np.array([0.5, 0.25, 0.5]))


def test_figures_of_a_known_evaluation():
    evaluation = known_evaluation()
    assert evaluation.mean_average_precision() == pytest.approx((1 + 1 / 2) / 2)  # nothing shows c
    assert evaluation.macro_f1() == pytest.approx((1 + 2 / 3) / 2)
    assert evaluation.exact() == pytest.approx(1 / 3)
    assert evaluation.answers.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    rows = evaluation.per_class()
    assert [row["samples"] for row in rows] == [2, 1, 0]
    assert (rows[1]["precision"], rows[1]["recall"]) == (0.5, 1.0)
    assert (rows[2]["average_precision"], rows[2]["precision"], rows[2]["recall"]) == (None, 0.0, None)
    values = summary(evaluation)
    assert (values["labels_per_sample"], values["answers_per_sample"]) == (1.0, pytest.approx(5 / 3))
    assert values["thresholds_from"] is None
    text = str(evaluation_tables(evaluation)[0])
    assert "thresholds: 0.5, as none were fitted" in text
    assert "1 of 3 classes have no videos here, and count in no mean" in text


def test_a_set_of_classes_is_the_answer():
    probabilities, thresholds = np.array([0.3, 0.9, 0.6, 0.55]), (0.2, 0.95, 0.5, 0.5)
    prediction = Prediction(Path("a.mp4"), ["a", "b", "c", "d"], probabilities, thresholds=thresholds)
    assert prediction.answers == ["c", "d", "a"]
    assert prediction.answer == "c|d|a"
    assert prediction.top(2) == [("b", 0.9), ("c", 0.6)]
    row = as_row(prediction, 2)
    assert (row["answer"], row["answers"]) == ("c|d|a", ["c", "d", "a"])
    assert [entry["label"] for entry in row["top"]] == ["b", "c", "d", "a"]
    none = Prediction(Path("a.mp4"), ["a"], np.array([0.3]), thresholds=(0.5,))
    assert (none.answers, none.answer) == ([], "none of these")


def test_a_predictor_answers_by_the_thresholds_of_the_checkpoint(trained: Path, data: Path):
    [path, *_] = sorted((data / "val").rglob("*.mp4"))
    predict, info = Predictor(trained), load_config(trained)[1]
    result = predict(path)
    above = {n for n, p, t in zip(info.labels, result.probabilities, info.thresholds or [], strict=True) if p >= t}
    assert set(result.answers) == above
    assert predict.threshold is None
    every = Predictor(trained, threshold=0.0)(path)
    assert set(every.answers) == set(info.labels)
    assert Predictor(trained, threshold=1.0)(path).answer == "none of these"


def test_unfitted_thresholds_are_one_half(tmp_path: Path, data: Path):
    model = build_model(tiny.model_config(2, task="multi_label"))
    save(model, tmp_path / "model", CheckpointInfo(input=tiny.INPUT, labels=["a", "b"]))
    assert Predictor(tmp_path / "model").thresholds == (0.5, 0.5)


def test_what_a_shelf_and_a_table_say(trained: Path, data: Path, tmp_path: Path):
    process = tiny.run_command(
        "predict", trained, data / "val", "--workers", "0", "--out", tmp_path / "rows.jsonl", "--threshold", "0"
    )
    assert process.returncode == 0, process.stderr
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(sorted(row["answers"]) == sorted(load_config(trained)[1].labels) for row in rows)
    process = tiny.run_command(
        "predict", trained, sorted((data / "val").rglob("*.mp4"))[0], "--workers", "0", "--threshold", "1"
    )
    assert process.stdout.count("none of these") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("watch", "MODEL", "a.mp4"), "the segments of `watch` are of one class each"),
        (("calibrate", "MODEL", "DATA"), "is a multi-label classifier (tiny); use `morphmlp predict`"),
        (("evaluate", "MODEL", "DATA", "--timeline"), "is a multi-label classifier, which does not take --timeline"),
        (("evaluate", "MODEL", "DATA", "--lists.multi_label", "false"), "gives any number of classes for each"),
        (("evaluate", "MODEL", "FOLDERS"), "class folders give each file one class"),
        (("ablate", "7", "--data", "DATA", "--out", "OUT"), "and `ablate` compares classifiers of one class"),
    ],
)
def test_verbs_of_one_class_refuse_in_a_line(
    trained: Path, data: Path, several_labels: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
):
    places = {"MODEL": trained, "DATA": several_labels, "FOLDERS": data, "OUT": tmp_path / "out"}
    process = tiny.run_command(*(places.get(argument, argument) for argument in arguments))
    assert (process.returncode, process.stderr.count("\n")) == (1, 1), process.stderr
    assert message in process.stderr


def test_lists_of_the_other_sort_are_refused(trained: Path, checkpoint: Path, data: Path, tmp_path: Path):
    paths = sorted((data / "val").rglob("*.mp4"))
    labels = load_config(trained)[1].labels
    one = tmp_path / "one.csv"
    one.write_text(f"{paths[0]},{labels[0]}\n{paths[1]},{labels[1]}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"has one label for each video, .* give --lists.multi_label true if all"):
        evaluate_checkpoint(trained, one, execution=QUIET)
    found = evaluate_checkpoint(trained, one, lists={"multi_label": True}, execution=QUIET)
    assert found.truth.sum() == 2

    several = tmp_path / "several.csv"
    classes = load_config(checkpoint)[1].labels
    several.write_text(f"{paths[0]},{classes[0]}|{classes[1]}\n{paths[1]},{classes[0]}\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=rf"has several labels a row, such as '{classes[0]}\|{classes[1]}', but .* names one"
    ):
        tiny.evaluate_checkpoint(checkpoint, several, workers=0)
    with pytest.raises(ConfigError, match=r"--lists\.multi_label is True, but .* names one class"):
        tiny.evaluate_checkpoint(checkpoint, several, lists={"multi_label": True}, workers=0)
    several.write_text(f"path,label_1,label_2\n{paths[0]},{classes[0]},{classes[1]}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"row 2: 2 labels of .*, where each video or image has one"):
        tiny.evaluate_checkpoint(checkpoint, several, workers=0)


def test_training_starts_from_a_classifier_of_the_other_sort(
    checkpoint: Path, trained: Path, several_labels: Path, data: Path
):
    from morphmlp.training.initial_weights import initial_model

    config = run_config(several_labels)
    classes = read_training_sets(several_labels)[0].classes
    from_single = RunConfig(
        config.data, tiny.model_config(len(classes), task="multi_label"), tiny.INPUT, init=str(checkpoint)
    )
    model, [note] = initial_model(from_single, classes)
    assert "is replaced by a fresh one" in note
    from_several = RunConfig(str(data), tiny.model_config(10), tiny.INPUT, init=str(trained))
    other, _ = initial_model(from_several, [str(i) for i in range(10)])
    assert (model.config.task, other.config.task) == ("multi_label", "classification")
    assert torch.equal(model.norm.weight, load(checkpoint).norm.weight)  # all but the last layer is taken
    assert torch.equal(other.norm.weight, load(trained).norm.weight)


def test_a_segmenter_takes_no_weights_of_classes():
    from morphmlp.tasks.segmentation.training import SegmentationTask

    config = RunConfig(
        "scenes",
        tiny.model_config(2, task="segmentation", temporal=False, frames=1),
        tiny.INPUT.from_dict(tiny.INPUT.to_dict() | {"fit": "whole", "crop": [64, 64]}),
        TrainConfig(focal=2.0),
    )
    with pytest.raises(ConfigError, match="are for classifiers"):
        SegmentationTask(config, (_Nothing(), _Nothing()))  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Nothing:
    samples: tuple[Sample, ...] = ()
    classes: tuple[str, ...] = ()


def test_a_check_counts_every_class_and_writes_lists_that_training_reads(several_labels: Path, tmp_path: Path):
    from morphmlp.analysis.data_check.check import check_data

    report = check_data(several_labels, tmp_path / "check", workers=1, frames=4)
    train, val = read_training_sets(several_labels)
    counts = report.class_counts()
    for label, name in enumerate(train.classes):
        assert counts[name]["train"] == sum(label in sample.classes for sample in train.samples)
    assert (report.sound, report.multi_label, len(report.clean)) == (True, True, 2)
    with pytest.raises(DataError, match="a row may lack a label with --lists"):
        read_training_sets(tmp_path / "check")
    again = read_training_sets(tmp_path / "check", lists=ListConfig(multi_label=True))
    for part, read in zip((train, val), again, strict=True):
        assert [sample.classes for sample in read.samples] == [sample.classes for sample in part.samples]
    assert ",apart|" in (tmp_path / "check" / "files.csv").read_text(encoding="utf-8")


def test_clips_of_background_show_none_of_the_classes(data: Path):
    paths = sorted((data / "train").rglob("*.mp4"))[:2]
    samples = [Sample(Stretch(path, 0.5, 0.8), -1, labels=(number,)) for number, path in enumerate(paths)]
    part = LabelledSet(samples, ["a", "b"], multi_label=True)
    found = with_background(part, 0.5, seed=0, origin="set")
    assert found.classes == ["a", "b"]
    assert [sample.classes for sample in found.samples] == [(0,), (1,), (), ()]
    assert "2 clips between the stretches are of no class" in found.note


def test_a_server_answers_with_several_labels_and_has_no_windows(trained: Path):
    from morphmlp.serving.app import _description
    from morphmlp.serving.batching import predict_clips
    from morphmlp.serving.limits import Limits, Refusal
    from morphmlp.serving.metrics import Metrics
    from morphmlp.serving.service import Service
    from morphmlp.serving.uploads import Upload

    predictor = Predictor(trained)
    service = Service(predictor, trained, workers=1, limits=Limits(), metrics=Metrics())
    assert "windows" not in _description(service)
    upload = Upload("a.mp4", Path("a.mp4"))
    with pytest.raises(Refusal, match="the model gives several labels"):
        asyncio.run(service.windows(upload, length_s=None, step_s=None))
    [probabilities] = predict_clips(predictor, [np.zeros((1, 3, 4, 32, 32), np.float32)])
    assert probabilities.sum() != pytest.approx(1)
    assert service._prediction(upload, probabilities, None).thresholds == predictor.thresholds
