"""Training: what a run leaves, that it can be stopped anywhere and goes on to the last bit, and what stops it."""

import gc
import shutil
import signal
import statistics
import sys
import time
import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import fresh
import pytest
import tiny
import torch
from safetensors.torch import load_file

import morphmlp.training.run as training
from morphmlp.checkpoints.folder import load_config, load_with_info
from morphmlp.cli import main
from morphmlp.data.batches.samplers import EpochBatches
from morphmlp.data.media import kept_frames
from morphmlp.data.media.kept_frames import KeptFrames
from morphmlp.data.media.video import probe, read_clip
from morphmlp.data.sets.read import read_training_sets
from morphmlp.demo.synthetic import CLASSES
from morphmlp.errors import CheckpointError, ConfigError, DataError
from morphmlp.tasks.classification import training as classification
from morphmlp.tasks.classification.training import ClassificationTask
from morphmlp.training import record, trainer
from morphmlp.training.initial_weights import initial_model
from morphmlp.training.run_folder import RunFolder

RUN_FILES = ["best", "config.json", "curves.png", "environment.jsonl", "last", "log.jsonl", "previous"]


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 2 epochs of 5 steps."""
    out = tmp_path_factory.mktemp("finished") / "run"
    training.train(tiny.run_config(data), out)
    return out


@pytest.fixture(scope="module", params=[0, 2], ids=["no_workers", "two_workers"])
def never_stopped(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The settings and the folder of a run with everything random in it."""
    settings = tiny.everything_random(request.param)
    out = tmp_path_factory.mktemp("never_stopped") / "run"
    training.train(tiny.run_config(data, **settings), out)
    return settings, out


# What a run leaves


def test_run_leaves_its_configuration_log_curves_and_two_checkpoints(finished: Path):
    assert sorted(path.name for path in finished.iterdir()) == RUN_FILES
    assert (finished / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert tiny.files_below(finished / "best") == ["config.json", "model.safetensors"]
    state_files = ["config.json", "manifest.json", "model.safetensors", "state.pt"]
    assert tiny.files_below(finished / "last") == tiny.files_below(finished / "previous") == state_files


def test_configuration_in_the_run_folder_is_the_one_it_was_started_with(finished: Path, data: Path):
    assert RunFolder(finished).read_config() == tiny.run_config(data)


def test_log_has_a_line_for_each_step_and_each_evaluation(finished: Path):
    log = tiny.read_log(finished)
    steps = [line for line in log if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 11))
    assert [line["epoch"] for line in steps] == pytest.approx([step / 5 for step in range(1, 11)])
    assert all(line.keys() == {"step", "epoch", "lr", "loss", "grad_norm", "clips_per_s"} for line in steps)
    assert [line["lr"] for line in steps] == pytest.approx(
        [1e-6, 2.505e-4, 5e-4, 4.81e-4, 4.27e-4, 3.46e-4, 2.5e-4, 1.55e-4, 7.4e-5, 2.0e-5], rel=0.02
    )
    evaluations = [line for line in log if "val_top1" in line]
    assert [(line["step"], line["epoch"]) for line in evaluations] == [(5, 1), (10, 2)]
    assert all({"val_top1", "val_top5", "val_loss", "val_broken"} <= line.keys() for line in evaluations)


def test_checkpoints_hold_the_class_names_the_input_and_a_summary(finished: Path, data: Path):
    for name in ("best", "last"):
        model, info = load_with_info(finished / name)
        assert info.labels == sorted(CLASSES)
        assert info.input == tiny.INPUT
        assert model.config == tiny.model_config(10)
        assert info.training["data"] == str(data)
        assert info.training["videos"] == 20
        durations_s = [probe(path).duration_s for path in (data / "train").rglob("*.mp4")]
        assert info.training["median_duration_s"] == round(statistics.median(durations_s), 3)
    best = load_config(finished / "best")[1].training
    assert best["val_top1"] == max(line["val_top1"] for line in tiny.read_log(finished) if "val_top1" in line)


def test_loss_falls_on_videos_that_are_seen_again_and_again(data: Path, tmp_path: Path):
    few = tiny.copy_data(data, tmp_path / "few", classes=2)
    plain = {"mixup": 0.0, "color": 0.0, "crop_area": 1.0, "crop_ratio": 1.0, "label_smoothing": 0.0}
    settings = {"epochs": 40, "eval_every": 40, "lr": 5e-3, "augment": plain}
    training.train(tiny.run_config(few, **settings), tmp_path / "run")
    values = [line["loss"] for line in tiny.read_log(tmp_path / "run") if "loss" in line]
    assert values[0] > 0.5
    assert max(values[-3:]) < 0.1


def test_half_precision_without_a_gpu_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"train.precision is 'fp16', which needs a CUDA device.*'fp32' or 'bf16'$"):
        training.train(tiny.run_config(data, precision="fp16"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_kept_frames_change_no_bit_of_a_run_nor_of_a_resumed_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = tiny.run_config(data, **tiny.everything_random(0))
    plain = replace(config, train=replace(config.train, keep_frames_gb=0))
    training.train(plain, tmp_path / "plain")
    reads = []
    monkeypatch.setattr(
        kept_frames, "read_clip", lambda source, *args, **how: reads.append(source) or read_clip(source, *args, **how)
    )
    memories: weakref.WeakSet[KeptFrames] = weakref.WeakSet()

    def memory(*arguments: Any) -> KeptFrames:
        made = KeptFrames(*arguments)
        memories.add(made)
        return made

    monkeypatch.setattr(classification, "KeptFrames", memory)
    training.train(config, tmp_path / "kept")
    gc.collect()
    assert not memories, "folds and trials are many runs in one process"
    tiny.assert_same_run(tmp_path / "plain", tmp_path / "kept")
    assert max(Counter(reads).values()) == 2  # of three epochs: in part, and as a whole
    with monkeypatch.context() as patch:
        tiny.stop_after(7, patch)
        with pytest.raises(training.Interrupted):
            training.train(config, tmp_path / "stopped")
    training.resume(tmp_path / "stopped")
    tiny.assert_same_run(tmp_path / "plain", tmp_path / "stopped")


@pytest.mark.parametrize(("workers", "num_processes"), [(0, 1), (2, 1), (0, 3), (2, 3)])
def test_all_processes_of_a_machine_together_keep_frames_in_the_memory_that_is_allowed(
    data: Path, monkeypatch: pytest.MonkeyPatch, workers: int, num_processes: int
):
    made: list[KeptFrames] = []
    monkeypatch.setattr(classification, "KeptFrames", lambda *arguments: made.append(KeptFrames(*arguments)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(num_processes))
    config = tiny.run_config(data, workers=workers, keep_frames_gb=0.5, select_fraction=0.4)
    task = ClassificationTask(config, read_training_sets(data))
    task.loader(EpochBatches(len(task.train_set.samples), batch_size=4, seed=0))
    assert len(made) == 3  # of the parts train, select and val
    num_decoding = num_processes * max(workers, 1)
    assert sum(kept.bytes_each * kept.num_sources for kept in made) * num_decoding == pytest.approx(5e8)


def test_same_seed_gives_the_same_run_and_another_seed_another(data: Path, finished: Path, tmp_path: Path):
    training.train(tiny.run_config(data), tmp_path / "same")
    tiny.assert_same_run(finished, tmp_path / "same")
    training.train(tiny.run_config(data, seed=1, epochs=1), tmp_path / "other")
    assert tiny.losses(tmp_path / "other")[:5] != tiny.losses(finished)[:5]


def test_weights_are_float32_unless_told_otherwise(finished: Path):
    assert {tensor.dtype for tensor in load_file(finished / "best" / "model.safetensors").values()} == {
        torch.float32,
        torch.int64,  # the batch counters of the stem's norms
    }


def test_runs_of_another_precision_can_follow_in_one_process(data: Path, tmp_path: Path):
    training.train(tiny.run_config(data, epochs=1), tmp_path / "float32")
    training.train(tiny.run_config(data, epochs=1, precision="bf16"), tmp_path / "bf16")
    assert tiny.losses(tmp_path / "float32") != tiny.losses(tmp_path / "bf16")


# Stop and go on


@pytest.mark.parametrize("step", [2, 5, 8], ids=["first_epoch", "end_of_epoch", "second_epoch"])
def test_resumed_run_is_bit_equal_to_one_never_stopped(
    never_stopped: Any, step: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings, whole = never_stopped
    tiny.stop_after(step, monkeypatch)
    with pytest.raises(training.Interrupted):
        training.train(tiny.run_config(data, **settings), tmp_path / "run")
    assert tiny.losses(tmp_path / "run") == tiny.losses(whole)[:step]
    result = training.resume(tmp_path / "run")
    tiny.assert_same_run(whole, tmp_path / "run")
    assert result.best_score == load_config(whole / "best")[1].training["val_top1"]


def test_run_can_be_stopped_during_the_evaluation(
    never_stopped: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings, whole = never_stopped
    evaluate = classification.evaluate

    def evaluate_and_stop(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(classification, "evaluate", evaluate)
        signal.raise_signal(signal.SIGTERM)
        return evaluate(*arguments, **options)

    monkeypatch.setattr(classification, "evaluate", evaluate_and_stop)
    with pytest.raises(training.Interrupted):
        training.train(tiny.run_config(data, **settings), tmp_path / "run")
    assert len(tiny.losses(tmp_path / "run")) == 10  # the evaluation is due after epoch 2 and not logged yet
    training.resume(tmp_path / "run")
    tiny.assert_same_run(whole, tmp_path / "run")


def test_run_may_be_stopped_again_and_again(
    never_stopped: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings, whole = never_stopped
    tiny.stop_after(1, monkeypatch)
    with pytest.raises(training.Interrupted):
        training.train(tiny.run_config(data, **settings), tmp_path / "run")
    for step in (4, 11, 14):
        tiny.stop_after(step, monkeypatch)
        with pytest.raises(training.Interrupted):
            training.resume(tmp_path / "run")
    training.resume(tmp_path / "run")
    tiny.assert_same_run(whole, tmp_path / "run")


def test_killed_run_goes_on_from_the_last_saved_state(data: Path, tmp_path: Path):
    settings = tiny.everything_random(0)
    training.train(tiny.run_config(data, **settings), tmp_path / "whole")
    script = (
        "import os, signal, sys, tiny\n"
        "from pathlib import Path\n"
        "from morphmlp.training.run_folder import RunFolder\n"
        "from morphmlp.training.run import train\n"
        "append = RunFolder.append\n"
        "def append_and_die(self, line):\n"
        "    append(self, line)\n"
        "    if line['step'] == 8:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "RunFolder.append = append_and_die\n"
        "settings = tiny.everything_random(0) | {'save_every': 3}\n"
        "train(tiny.run_config(Path(sys.argv[1]), **settings), sys.argv[2])\n"
    )
    arguments = [sys.executable, "-c", script, str(data), str(tmp_path / "run")]
    process = fresh.run(arguments, env=tiny.environment())
    assert process.returncode == -signal.SIGKILL
    log = tmp_path / "run" / "log.jsonl"
    assert tiny.losses(tmp_path / "run")[-1][0] == 8
    log.write_text(log.read_text() + '{"step": 9, "epo')  # killed while it wrote
    training.resume(tmp_path / "run")
    tiny.assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_best_checkpoint_moved_aside_by_a_killed_save_is_found_and_litter_removed(finished: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    place = run / ".best-abcdefgh.unfinished"
    shutil.copytree(run / "last", place / "new")
    (run / "best").rename(place / "old")
    (place / "lock").touch()
    shutil.copytree(run / "last", run / ".last-xyz")
    training.resume(run)
    tiny.assert_same_run(finished, run)
    assert sorted(path.name for path in run.iterdir()) == RUN_FILES


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "no_manifest", "moved_away"])
def test_a_damaged_state_is_told_and_the_one_before_it_goes_on(
    finished: Path, tmp_path: Path, damage: str, capfd: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    state = run / "last" / "state.pt"
    content = state.read_bytes()
    if damage == "truncated":
        state.write_bytes(content[:-100])
    elif damage == "flipped":
        middle = len(content) // 2
        state.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "missing":
        state.unlink()
    elif damage == "no_manifest":
        (run / "last" / "manifest.json").unlink()
    else:  # killed between the two renames of a save
        shutil.rmtree(run / "last")
    training.resume(run)
    assert f"{run / 'last'} is damaged (" in capfd.readouterr().err
    tiny.assert_same_run(finished, run)


def test_no_more_than_three_checkpoints_stand_however_long_the_run(data: Path, tmp_path: Path):
    training.train(tiny.run_config(data, epochs=4, save_every=2), tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == RUN_FILES


def test_resume_of_a_finished_run_changes_nothing(finished: Path):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    result = training.resume(finished)
    assert result.best == finished / "best"
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_resume_of_a_run_stopped_before_its_first_save_starts_it(data: Path, finished: Path, tmp_path: Path):
    RunFolder(tmp_path / "run").create(tiny.run_config(data), overwrite=False)
    training.resume(tmp_path / "run")
    tiny.assert_same_run(finished, tmp_path / "run")


def test_resume_without_a_run_or_with_a_damaged_one_is_refused(finished: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match="holds no run to resume"):
        training.resume(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    for name in ("last", "previous"):
        (run / name / "state.pt").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"last is damaged \(state\.pt has 7 bytes .*, and so is .*previous"):
        training.resume(run)
    (run / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        training.resume(run)


def test_resume_refuses_data_that_has_changed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    videos = tiny.copy_data(data, tmp_path / "videos", classes=2)
    tiny.stop_after(1, monkeypatch)
    with pytest.raises(training.Interrupted):
        training.train(tiny.run_config(videos, epochs=4), tmp_path / "run")
    next((videos / "train").rglob("*.mp4")).unlink()
    with pytest.raises(DataError, match="are not those that the run was started with"):
        training.resume(tmp_path / "run")


# The command line, which presses Ctrl-C itself after two steps: as a terminal does, the workers get it too.
CTRL_C = """
import os, signal, sys, tiny
from morphmlp.cli import main
from morphmlp.training.run_folder import RunFolder

append = RunFolder.append

def append_and_stop(self, line):
    append(self, line)
    if line["step"] == 2:
        os.killpg(0, signal.SIGINT)

RunFolder.append = append_and_stop
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_saves_tells_how_to_go_on_and_leaves_with_130(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    options = [*tiny.OPTIONS, "--epochs", "4", "--workers", "2", "--ema", "0.9", "--eval_every", "4"]
    whole, run = tmp_path / "whole run", tmp_path / "a run"
    train = [sys.executable, "-W", "error", "-c", CTRL_C, "train", data, "--out", run, *options]
    process = fresh.run(train, env=tiny.environment(), start_new_session=True)
    assert process.returncode == 130, process.stderr
    assert process.stdout == ""
    last_line = process.stderr.splitlines()[-1]
    assert last_line == f"stopped, the state is saved; go on with: morphmlp train --out '{run}' --resume"
    assert "Traceback" not in process.stderr
    assert [step for step, _ in tiny.losses(run)] == [1, 2]

    assert main(["train", "--out", str(run), "--resume"]) == 0
    assert "resumes" in capfd.readouterr().err
    assert main(["train", str(data), "--out", str(whole), *options]) == 0
    tiny.assert_same_run(whole, run)


def test_termination_saves_and_leaves_with_0(data: Path, tmp_path: Path):
    run = tmp_path / "run"
    options = [*tiny.OPTIONS, "--epochs", 10**6, "--eval_every", 10**6]
    process = fresh.start(tiny.command("train", data, "--out", run, *options), env=tiny.environment())
    while not (run / "log.jsonl").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    err = process.communicate()[1]
    assert process.returncode == 0, err
    assert err.splitlines()[-1].startswith("stopped, the state is saved; go on with: ")
    assert (run / "last" / "state.pt").is_file()


# What stops a run


def test_loss_that_is_not_finite_stops_with_the_batch_named_and_the_state_kept(
    data: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loss = ClassificationTask.criterion
    calls = []

    def broken_loss(*arguments: Any, **options: Any) -> torch.Tensor:
        calls.append(0)
        return loss(*arguments, **options) * (float("nan") if len(calls) == 7 else 1.0)

    monkeypatch.setattr(ClassificationTask, "criterion", staticmethod(broken_loss))
    with pytest.raises(training.NotFiniteError, match="loss is nan at step 7, on the batch of: ") as caught:
        training.train(tiny.run_config(data), tmp_path / "run")
    assert str(caught.value).count(".mp4") == 4
    assert f"last good state is {tmp_path / 'run' / 'last'}" in str(caught.value)
    monkeypatch.undo()
    training.resume(tmp_path / "run")  # the fault was ours, and is gone
    tiny.assert_same_run(finished, tmp_path / "run")


def test_gradient_that_is_not_finite_never_reaches_the_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loss = ClassificationTask.criterion
    calls = []

    def broken_gradient(*arguments: Any, **options: Any) -> torch.Tensor:
        calls.append(0)
        value = loss(*arguments, **options)
        if len(calls) == 5:  # the last step before an evaluation and a save
            value.register_hook(lambda gradient: gradient * float("nan"))
        return value

    monkeypatch.setattr(ClassificationTask, "criterion", staticmethod(broken_gradient))
    with pytest.raises(training.NotFiniteError, match=r"gradient norm is nan at step 5.*no state is saved yet"):
        training.train(tiny.run_config(data), tmp_path / "run")
    assert not (tmp_path / "run" / "last").exists()


def test_absurd_learning_rate_stops_the_run(data: Path, tmp_path: Path):
    with pytest.raises(training.NotFiniteError, match="lower --lr"):
        training.train(tiny.run_config(data, lr=1e6, warmup_epochs=0.0), tmp_path / "run")


def test_broken_training_video_is_left_out_and_named_once(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    videos = tiny.copy_data(data, tmp_path / "videos")
    broken = sorted((videos / "train").rglob("*.mp4"))[0]
    broken.write_text("no video")
    tiny.stop_after(7, monkeypatch)
    with pytest.raises(training.Interrupted):
        training.train(tiny.run_config(videos, epochs=3), tmp_path / "run")
    training.resume(tmp_path / "run")
    named = [line for line in tiny.read_log(tmp_path / "run") if "broken" in line]
    assert [line["broken"] for line in named] == [str(broken)]
    assert capfd.readouterr().err.count(str(broken)) == 1
    assert len(tiny.losses(tmp_path / "run")) == 1 + 15 + 3


def test_too_many_broken_training_videos_stop_the_run(data: Path, tmp_path: Path):
    videos = tiny.copy_data(data, tmp_path / "videos")
    for path in sorted((videos / "train").rglob("*.mp4"))[:4]:
        path.write_text("no video")
    with pytest.raises(DataError, match=r"4 of 20 training videos cannot be read, among them .*more than 10%"):
        training.train(tiny.run_config(videos), tmp_path / "run")


def test_broken_validation_videos_are_named_and_counted_and_all_of_them_stop_the_run(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    videos = tiny.copy_data(data, tmp_path / "videos", classes=2)
    paths = sorted((videos / "val").rglob("*.mp4"))
    paths[0].write_text("no video")
    training.train(tiny.run_config(videos, epochs=1), tmp_path / "run")
    assert tiny.read_log(tmp_path / "run")[-1]["val_broken"] == 1
    err = capfd.readouterr().err
    assert err.count(str(paths[0])) == 1
    assert "(1 of 2 evaluated)" in err
    paths[1].write_text("no video")
    with pytest.raises(DataError, match="none of the 2 videos can be read"):
        training.train(tiny.run_config(videos, epochs=1), tmp_path / "other")


def test_full_disk_leaves_no_half_written_state(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    tiny.stop_after(2, monkeypatch)
    with pytest.raises(training.Interrupted):
        training.train(tiny.run_config(data), tmp_path / "run")
    before = (tmp_path / "run" / "last" / "state.pt").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(record, "write_checkpoint", full)
        with pytest.raises(OSError, match="No space left"):
            training.resume(tmp_path / "run")
    assert (tmp_path / "run" / "last" / "state.pt").read_bytes() == before
    assert not list((tmp_path / "run").glob(".last-*"))


# The run folder


def test_second_run_in_a_folder_is_refused_unless_told(data: Path, finished: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="holds a run already: --resume goes on with it, --overwrite starts anew"):
        training.train(tiny.run_config(data, seed=1), run)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    training.train(tiny.run_config(data, epochs=1), run, overwrite=True)
    assert len(tiny.read_log(run)) == 6


@pytest.mark.parametrize("overwrite", [False, True])
def test_folder_with_something_else_is_refused_and_untouched(
    overwrite: bool, data: Path, checkpoint: Path, tmp_path: Path
):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "log.jsonl").write_text("mine")
    shutil.copytree(checkpoint, tmp_path / "checkpoint")  # it has a config.json, too
    (tmp_path / "file").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name in ("notes", "checkpoint", "file"):
        with pytest.raises(ConfigError, match="choose another --out"):
            training.train(tiny.run_config(data), tmp_path / name, overwrite=overwrite)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# Fine-tuning


def test_init_with_as_many_classes_starts_from_all_weights(
    data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    config = tiny.run_config(data, init=checkpoint)
    model, notes = initial_model(config, read_training_sets(data)[0].classes)
    source = load_file(checkpoint / "model.safetensors")
    order = [CLASSES.index(name) for name in sorted(CLASSES)]  # the checkpoint's classes, in the order of the data's
    for name in ("head.weight", "head.bias"):
        source[name] = source[name][order]
    assert all(torch.equal(value, source[name]) for name, value in model.state_dict().items())
    assert notes == [f"starts from {checkpoint} (tiny); its head is kept, put into the order of these classes"]


def test_init_with_as_many_other_classes_replaces_the_head(data: Path, checkpoint: Path):
    classes = [f"other {name}" for name in CLASSES]
    model, notes = initial_model(tiny.run_config(data, init=checkpoint), classes)
    source = load_file(checkpoint / "model.safetensors")
    assert torch.equal(model.state_dict()["norm.weight"], source["norm.weight"])
    assert not torch.equal(model.state_dict()["head.weight"], source["head.weight"])
    assert "its head of 10 classes is replaced by a fresh one of these 10 classes" in notes[0]


def test_a_second_training_in_a_folder_in_use_is_refused(data: Path, tmp_path: Path):
    with RunFolder(tmp_path / "run").locked():
        with pytest.raises(ConfigError, match="another training is running in"):
            training.train(tiny.run_config(data), tmp_path / "run")
        with pytest.raises(CheckpointError, match="holds no run to resume"):
            training.resume(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_end_of_each_epoch_is_saved_evaluated_or_not(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    saved = []
    save_state = trainer.Trainer._save_state
    monkeypatch.setattr(
        trainer.Trainer, "_save_state", lambda self: (saved.append(self.progress.step), save_state(self))
    )
    training.train(tiny.run_config(data, epochs=3, eval_every=3), tmp_path / "run")
    assert saved == [5, 10, 15, 15]


def test_out_in_the_folder_of_videos_is_refused(data: Path, tmp_path: Path):
    videos = tiny.copy_data(data, tmp_path / "videos", classes=2)
    with pytest.raises(ConfigError, match="lies in the folder of data"):
        training.train(tiny.run_config(videos), videos / "run")
    assert not (videos / "run").exists()


def test_init_with_another_head_says_so_and_keeps_the_backbone(
    data: Path, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    videos = tiny.copy_data(data, tmp_path / "videos", classes=3)
    config = tiny.run_config(videos, init=checkpoint, lr=1e-12, min_lr=0.0, epochs=1)
    training.train(config, tmp_path / "run")
    assert "its head of 10 classes is replaced by a fresh one of these 3" in capfd.readouterr().err
    source, tuned = (load_file(folder / "model.safetensors") for folder in (checkpoint, tmp_path / "run" / "last"))
    weights = [name for name in source if "running" not in name and "batches" not in name]
    assert tuned["head.weight"].shape == (3, 16)
    for name in weights:
        if not name.startswith("head."):
            torch.testing.assert_close(tuned[name], source[name], rtol=0, atol=1e-9)
    assert load_config(tmp_path / "run" / "last")[1].training["init"] == str(checkpoint)


def test_init_with_a_folder_that_is_no_checkpoint_leaves_nothing(data: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match="is no checkpoint folder"):
        training.train(tiny.run_config(data, init=tmp_path), tmp_path / "run")
    assert not (tmp_path / "run").exists()
