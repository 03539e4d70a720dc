"""Training: one visible loop that can be stopped at any step and resumed.

Nothing random has a state to carry: the clips follow from (seed, epoch, index), mixup and stochastic depth from
(seed, step). So a resumed run on the CPU is bit-equal to one that was never stopped.
"""

import io
import math
import os
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from morphmlp.checkpoints import CheckpointInfo, write_checkpoint
from morphmlp.classification import ClassificationTask
from morphmlp.config import MaskConfig, RunConfig, SplitConfig
from morphmlp.console import TrainingDisplay
from morphmlp.data.datasets import LabelledSet, read_training_sets
from morphmlp.data.loaders import EpochSampler
from morphmlp.data.masks import MaskSet, is_mask_data, read_mask_sets
from morphmlp.errors import CheckpointError, ConfigError, DataError, UserError
from morphmlp.figures import plot_curves
from morphmlp.files import replaced_folder
from morphmlp.finetune import initial_model
from morphmlp.model import MorphMLP
from morphmlp.optim import lr_at, make_optimizer
from morphmlp.runs import Progress, RunFolder
from morphmlp.segmentation_task import SegmentationTask
from morphmlp.tasks import Scores, Task, seed_step
from morphmlp.zoo import build_model

METRIC_NAMES = {"top1": "top-1", "top5": "top-5", "miou": "mIoU", "pixel_accuracy": "pixel accuracy"}
MOST_BROKEN = 0.1  # share of the training samples that may be unreadable
FEW_BROKEN = 3  # so many may be in any case

TrainingSets = tuple[LabelledSet, LabelledSet] | tuple[MaskSet, MaskSet]


class NotFiniteError(UserError):
    """The loss or its gradient became NaN or infinite."""


class Interrupted(Exception):
    """Ctrl-C (SIGINT) or a preemption (SIGTERM) stopped the run; its state is saved."""

    def __init__(self, signal_number: int, out: Path):
        go_on = f"morphmlp train --out {shlex.quote(str(out))} --resume"
        super().__init__(f"stopped, the state is saved; go on with: {go_on}")
        self.signal_number = signal_number


@dataclass(frozen=True)
class TrainResult:
    """How a run ended; `best` is the checkpoint of the epoch with the highest `metric`: "top1" or "miou"."""

    best: Path
    metric: str
    best_score: float
    best_epoch: int
    unit: str
    num_train: int
    num_val: int
    clips_per_s: float


def read_sets(data: str | Path, split: SplitConfig, masks: MaskConfig | None = None) -> TrainingSets:
    """The training and validation sets below `data`; what it holds decides: masks, images or videos."""
    if is_mask_data(data):
        return read_mask_sets(data, masks or MaskConfig(), split)
    return read_training_sets(data, split)


def train(
    config: RunConfig, out: str | Path, *, overwrite: bool = False, sets: TrainingSets | None = None
) -> TrainResult:
    """Starts a run in a new folder; `sets` are the samples of `config.data` where they have been read already.

    Raises:
        UserError: data, configuration or folder cannot be used; nothing is left behind then.
        NotFiniteError: the loss or its gradient is NaN or infinite.
        Interrupted: after Ctrl-C or SIGTERM; the state is saved.
    """
    folder = RunFolder(out)
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(config.data)):
        raise ConfigError(f"{out} lies in the folder of data, {config.data}; choose another --out")
    with folder.locked():
        folder.check(overwrite=overwrite)
        sets = sets or read_sets(config.data, config.split, config.masks)
        model, notes = initial_model(config, sets[0].classes)
        folder.create(config, overwrite=overwrite)
        try:
            return _Run(config, folder, sets, model).fit(notes)
        except (UserError, OSError):
            folder.discard_if_unsaved()
            raise


def resume(out: str | Path) -> TrainResult:
    """Goes on with a stopped run, under the configuration that it was started with.

    Raises:
        UserError: there is no run, its state is damaged, or its data has changed.
    """
    folder = RunFolder(out)
    config = folder.read_config()
    with folder.locked():
        folder.clear_leftovers()
        sets = read_sets(config.data, config.split, config.masks)
        if not folder.state.is_file():  # stopped before the first save
            model, notes = initial_model(config, sets[0].classes)
            folder.create(config, overwrite=True)
            return _Run(config, folder, sets, model).fit(notes)
        run = _Run(config, folder, sets, build_model(config.model))
        run.load_state()
        epoch, step = divmod(run.progress.step, run.steps_per_epoch)
        return run.fit([f"resumes {out} behind step {step} of epoch {epoch + 1}"])


def make_task(config: RunConfig, sets: TrainingSets) -> Task:
    """What the run learns: `config.model.task`."""
    if config.model.task == "segmentation":
        return SegmentationTask(config, sets)  # type: ignore[arg-type]
    return ClassificationTask(config, sets)  # type: ignore[arg-type]


class _Run:
    """A run's state and its loop."""

    def __init__(self, config: RunConfig, folder: RunFolder, sets: TrainingSets, model: MorphMLP):
        settings = config.train
        self.config, self.settings, self.folder = config, settings, folder
        self.task = make_task(config, sets)
        self.progress = Progress()
        self.broken: set[Path] = set()
        self.caught_signal: int | None = None

        AcceleratorState._reset_state()  # it keeps the precision of the process's first run
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError("training in several processes is not supported yet; start it without torchrun")
        self.accelerator = Accelerator(mixed_precision=settings.precision.replace("fp32", "no"), split_batches=True)
        if self.accelerator.device.type == "cpu":
            # Threads that wait for a core in use by a decoding worker slow every matrix product down.
            torch.set_num_threads(max(1, (os.cpu_count() or 1) - settings.workers))
        self.sampler = EpochSampler(len(self.task.train_paths), settings.seed)
        loader = self.task.loader(self.sampler)
        self.steps_per_epoch = len(loader)
        self.total_steps = settings.epochs * self.steps_per_epoch
        self.raw_model = model
        self.optimizer = make_optimizer(model, settings)
        self.model, self.optimizer, self.loader = self.accelerator.prepare(model, self.optimizer, loader)
        self.averaged = None
        if settings.ema:
            self.averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)

    def fit(self, notes: list[str]) -> TrainResult:
        """Trains to the last step; evaluates behind every `eval_every` epochs."""
        display = TrainingDisplay(total_steps=self.total_steps, steps_per_epoch=self.steps_per_epoch)
        with self._signals_caught(), display:
            self._announce(display, notes)
            try:
                while True:
                    if self._evaluation_is_due():
                        self._evaluate_and_save(display)
                    if self.progress.step >= self.total_steps:
                        break
                    self._train_epoch(display)
                    self._save_state()
            except _Stop:
                self._save_state()
                raise Interrupted(self.caught_signal or signal.SIGINT, self.folder.path) from None
        return TrainResult(
            best=self.folder.best,
            metric=self.task.metric,
            best_score=self.progress.best_score,
            best_epoch=self.progress.best_step // self.steps_per_epoch,
            unit=self.task.unit,
            num_train=len(self.task.train_paths),
            num_val=self.task.num_val,
            clips_per_s=self.progress.clips / max(self.progress.training_s, 1e-9),
        )

    def _train_epoch(self, display: TrainingDisplay) -> None:
        """Trains to the end of the current epoch, from wherever in it the run stands."""
        progress, settings = self.progress, self.settings
        epoch, first_step = divmod(progress.step, self.steps_per_epoch)
        self.sampler.start_at(epoch=epoch, sample=first_step * settings.batch_size)
        self.model.train()
        started = time.perf_counter()
        for batch in self.loader:
            self._note_broken(batch, display)
            lr = lr_at(progress.step, settings, steps_per_epoch=self.steps_per_epoch)
            line = {"lr": lr}
            if batch.indices:
                line |= self._train_step(batch, lr)
            progress.step += 1
            progress.clips += len(batch.indices)
            ended = time.perf_counter()
            progress.training_s += ended - started
            clips_per_s = len(batch.indices) / (ended - started)
            started = ended
            position = {"step": progress.step, "epoch": progress.step / self.steps_per_epoch}
            self.folder.append(position | line | {"clips_per_s": round(clips_per_s, 2)})
            display.step(progress.step, loss=line.get("loss", math.nan), clips_per_s=clips_per_s)
            self._stop_if_asked()
            if settings.save_every and progress.step % settings.save_every == 0:
                self._save_state()
                started = time.perf_counter()

    def _train_step(self, batch: Any, lr: float) -> dict[str, float]:
        """One optimizer step: loss and gradient norm."""
        settings = self.settings
        seed_step(settings.seed, self.progress.step + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        with self.accelerator.autocast():
            loss = self.task.loss(self.model, batch, self.accelerator.device)
        if not math.isfinite(loss.item()):
            self._fail_not_finite(batch, f"loss is {loss.item()}")
        self.accelerator.backward(loss)
        norm = float(self.accelerator.clip_grad_norm_(self.model.parameters(), settings.clip_grad))  # type: ignore[arg-type]
        if self.accelerator.scaler is None and not math.isfinite(norm):  # a scaler skips such a step itself
            self._fail_not_finite(batch, f"gradient norm is {norm}")
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.averaged is not None:
            self.averaged.update_parameters(self.raw_model)
        return {"loss": loss.item(), "grad_norm": norm}

    def _fail_not_finite(self, batch: Any, what: str) -> None:
        paths = ", ".join(str(self.task.train_paths[index]) for index in batch.indices)
        state = f"the last good state is {self.folder.last}" if self.folder.state.exists() else "no state is saved yet"
        raise NotFiniteError(
            f"the {what} at step {self.progress.step + 1}, on the batch of: {paths}; {state}. "
            f"Look at these {self.task.unit}, or start anew with a lower --lr or --clip_grad, or with --precision fp32"
        )

    def _note_broken(self, batch: Any, display: TrainingDisplay) -> None:
        """Logs each unreadable sample once, and stops when there are too many."""
        for sample in batch.broken:
            if sample.path not in self.broken:
                self.broken.add(sample.path)
                display.broken(sample.path, sample.reason)
                self.folder.append({"step": self.progress.step, "broken": str(sample.path), "reason": sample.reason})
        total = len(self.task.train_paths)
        if len(self.broken) == total or len(self.broken) > max(FEW_BROKEN, MOST_BROKEN * total):
            first = next(iter(sorted(self.broken)))
            raise DataError(
                f"{len(self.broken)} of {total} training {self.task.unit} cannot be read, among them "
                f"{first}: more than {MOST_BROKEN:.0%}; those met so far are named above"
            )

    def _evaluation_is_due(self) -> bool:
        progress = self.progress
        epoch, within = divmod(progress.step, self.steps_per_epoch)
        at_interval = epoch % self.settings.eval_every == 0 or progress.step >= self.total_steps
        return progress.step > progress.evaluated_step and within == 0 and at_interval

    def _evaluate_and_save(self, display: TrainingDisplay) -> None:
        """Evaluates, draws the curves, and saves the last and, if it is, the best checkpoint."""

        def shown(done: int, total: int) -> None:
            display.evaluating(done, total)
            self._stop_if_asked()

        progress = self.progress
        scores = self.task.evaluate(self._model_to_save(), shown)
        epoch = progress.step // self.steps_per_epoch
        figures = {f"val_{name}": value for name, value in scores.figures.items()}
        self.folder.append({"step": progress.step, "epoch": epoch} | figures | {"val_broken": scores.broken})
        progress.evaluated_step = progress.step
        score = scores.figures[self.task.metric]
        if math.isnan(score):
            masks = self.config.masks
            raise DataError(
                f"no pixel of the {self.task.num_val} validation images has a class; --masks.ignore_index is "
                f"{masks.ignore_index} and --masks.reduce_zero_label {masks.reduce_zero_label}: look at the annotations"
            )
        if score > progress.best_score:
            progress.best_score, progress.best_step = score, progress.step
            with replaced_folder(self.folder.best) as folder:
                write_checkpoint(self._model_to_save(), folder, self._info(scores))
        self._save_state()
        plot_curves(self.folder.log, self.folder.curves)
        display.say(
            f"epoch {epoch}/{self.settings.epochs}  "
            + "  ".join(f"{METRIC_NAMES.get(name, name)} {value:.3f}" for name, value in scores.figures.items())
            + f"  (best {METRIC_NAMES[self.task.metric]} {progress.best_score:.3f})  "
            f"{progress.clips / max(progress.training_s, 1e-9):.0f} {self.task.unit}/s"
        )

    def _model_to_save(self) -> MorphMLP:
        return self.raw_model if self.averaged is None else self.averaged.module  # type: ignore[return-value]

    def _info(self, scores: Scores | None = None) -> CheckpointInfo:
        """What the checkpoint says beside the weights."""
        progress = self.progress
        summary: dict[str, Any] = {
            "data": self.config.data,
            self.task.unit: len(self.task.train_paths),
            "epochs": round(progress.step / self.steps_per_epoch, 3),
            "init": self.config.init,
            "split": self.config.split.to_dict(),
            "masks": self.config.masks.to_dict(),
            "settings": self.settings.to_dict(),
        }
        if scores is not None:
            summary |= {f"val_{self.task.metric}": scores.figures[self.task.metric]}
            summary |= {f"val_{self.task.unit}": scores.evaluated}
        return CheckpointInfo(input=self.config.input, labels=list(self.task.classes), training=summary)

    def _save_state(self) -> None:
        """Writes `last`: a checkpoint like any other, and beside it what resuming needs."""
        state = {
            "progress": asdict(self.progress),
            "data": self.task.fingerprint,
            "model": self.raw_model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "scaler": None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict(),
        }
        with replaced_folder(self.folder.last) as folder:
            write_checkpoint(self._model_to_save(), folder, self._info())
            buffer = io.BytesIO()  # written by Python, so that a full disk is an OSError
            torch.save(state, buffer)
            (folder / self.folder.state.name).write_bytes(buffer.getbuffer())

    def load_state(self) -> None:
        """Takes up the saved state, and drops what was logged behind it."""
        path = self.folder.state
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self._take_up(state)
        except UserError:
            raise
        except Exception as error:  # a damaged or foreign file raises many kinds
            reason = type(error).__name__
            raise CheckpointError(f"{path} is damaged, or not of this run ({reason}); use --overwrite") from None
        self.broken = self.folder.cut_log(self.progress)

    def _take_up(self, state: dict[str, Any]) -> None:
        if state["data"] != self.task.fingerprint:
            raise DataError(
                f"the {self.task.unit} of {self.config.data} are not those that the run was started with; "
                "restore them, or start a new run with --init"
            )
        self.progress = Progress(**state["progress"])
        self.raw_model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def _announce(self, display: TrainingDisplay, notes: list[str]) -> None:
        model = self.config.model
        parameters = sum(parameter.numel() for parameter in self.raw_model.parameters())
        size = " x ".join(map(str, self.config.input.crop))
        frames = f"{model.frames} frames at " if model.temporal else ""
        display.say(
            f"{model.name}, {frames}{size} px, {parameters / 1e6:.2f} M parameters, on {self.accelerator.device}"
        )
        display.say(
            f"{len(self.task.train_paths)} training and {self.task.num_val} validation {self.task.unit} of "
            f"{model.num_classes} classes; {self.settings.epochs} epochs of {self.steps_per_epoch} steps"
        )
        for note in notes:
            display.say(note)

    def _stop_if_asked(self) -> None:
        if self.caught_signal is not None:
            raise _Stop

    @contextmanager
    def _signals_caught(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM stops the run behind the step in progress; a second Ctrl-C at once."""

        def catch(number: int, _: Any) -> None:
            self.caught_signal = number
            signal.signal(number, before[number])

        before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, catch)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Stop(Exception):
    """Unwinds the loop to the place where the state is saved."""
