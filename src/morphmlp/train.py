"""Training: one visible loop that can be stopped at any step and resumed.

Nothing random has a state to carry: the clips follow from (seed, epoch, index), mixup and stochastic depth from
(seed, step). So a resumed run on the CPU is bit-equal to one that was never stopped.
"""

import hashlib
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
from morphmlp.config import RunConfig
from morphmlp.console import TrainingDisplay
from morphmlp.data.datasets import LabelledSet, read_training_sets
from morphmlp.data.loaders import Batch, EpochSampler, TestClips, TrainingClips, make_loader
from morphmlp.errors import CheckpointError, ConfigError, DataError, UserError
from morphmlp.evaluate import evaluate, make_test_loader, with_protocol
from morphmlp.figures import plot_curves
from morphmlp.files import replaced_folder
from morphmlp.finetune import initial_model
from morphmlp.model import MorphMLP
from morphmlp.optim import lr_at, make_optimizer
from morphmlp.runs import Progress, RunFolder
from morphmlp.tasks import ClipMixer, Evaluation, seed_step, soft_cross_entropy
from morphmlp.zoo import build_model

MOST_BROKEN = 0.1  # share of the training videos that may be unreadable
FEW_BROKEN = 3  # so many may be in any case


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
    """How a run ended; `best` is the checkpoint of the epoch with the highest validation top-1."""

    best: Path
    best_top1: float
    best_epoch: int
    num_train: int
    num_val: int
    clips_per_s: float


def train(
    config: RunConfig, out: str | Path, *, overwrite: bool = False, sets: tuple[LabelledSet, LabelledSet] | None = None
) -> TrainResult:
    """Starts a run in a new folder; `sets` are the videos of `config.data` where they have been read already.

    Raises:
        UserError: data, configuration or folder cannot be used; nothing is left behind then.
        NotFiniteError: the loss or its gradient is NaN or infinite.
        Interrupted: after Ctrl-C or SIGTERM; the state is saved.
    """
    folder = RunFolder(out)
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(config.data)):
        raise ConfigError(f"{out} lies in the folder of videos, {config.data}; choose another --out")
    with folder.locked():
        folder.check(overwrite=overwrite)
        sets = sets or read_training_sets(config.data, config.split)
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
        sets = read_training_sets(config.data, config.split)
        if not folder.state.is_file():  # stopped before the first save
            model, notes = initial_model(config, sets[0].classes)
            folder.create(config, overwrite=True)
            return _Run(config, folder, sets, model).fit(notes)
        run = _Run(config, folder, sets, build_model(config.model))
        run.load_state()
        epoch, step = divmod(run.progress.step, run.steps_per_epoch)
        return run.fit([f"resumes {out} behind step {step} of epoch {epoch + 1}"])


class _Run:
    """A run's state and its loop."""

    def __init__(self, config: RunConfig, folder: RunFolder, sets: tuple[LabelledSet, LabelledSet], model: MorphMLP):
        settings = config.train
        self.config, self.settings, self.folder = config, settings, folder
        self.train_set, self.val_set = sets
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
        self.sampler = EpochSampler(len(self.train_set.samples), settings.seed)
        clips = TrainingClips(
            self.train_set.samples,
            frames=config.model.frames,
            config=config.input,
            augment=settings.augment,
            seed=settings.seed,
        )
        loader = make_loader(clips, batch_size=settings.batch_size, workers=settings.workers, sampler=self.sampler)
        self.steps_per_epoch = len(loader)
        self.total_steps = settings.epochs * self.steps_per_epoch
        self.raw_model = model
        self.optimizer = make_optimizer(model, settings)
        self.model, self.optimizer, self.loader = self.accelerator.prepare(model, self.optimizer, loader)
        self.averaged = None
        if settings.ema:
            self.averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)
        self.mixer = ClipMixer(settings.augment, config.model.num_classes)
        one_view = with_protocol(config.input, num_clips=1, num_crops=1)
        self.val_loader = make_test_loader(
            TestClips(self.val_set.samples, config.model.frames, one_view), workers=settings.workers
        )

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
            best_top1=self.progress.best_top1,
            best_epoch=self.progress.best_step // self.steps_per_epoch,
            num_train=len(self.train_set.samples),
            num_val=len(self.val_set.samples),
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

    def _train_step(self, batch: Batch, lr: float) -> dict[str, float]:
        """One optimizer step: loss and gradient norm."""
        settings = self.settings
        seed_step(settings.seed, self.progress.step + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        device = self.accelerator.device
        clips, soft_labels = self.mixer(batch.clips.to(device), batch.labels.to(device))
        with self.accelerator.autocast():
            logits = self.model(clips)
        loss = soft_cross_entropy(logits, soft_labels, label_smoothing=settings.augment.label_smoothing)
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

    def _fail_not_finite(self, batch: Batch, what: str) -> None:
        paths = ", ".join(str(self.train_set.samples[index].path) for index in batch.indices)
        state = f"the last good state is {self.folder.last}" if self.folder.state.exists() else "no state is saved yet"
        raise NotFiniteError(
            f"the {what} at step {self.progress.step + 1}, on the batch of: {paths}; {state}. "
            "Look at these videos, or start anew with a lower --lr or --clip_grad, or with --precision fp32"
        )

    def _note_broken(self, batch: Batch, display: TrainingDisplay) -> None:
        """Logs each unreadable video once, and stops when there are too many."""
        for video in batch.broken:
            if video.path not in self.broken:
                self.broken.add(video.path)
                display.broken(video.path, video.reason)
                self.folder.append({"step": self.progress.step, "broken": str(video.path), "reason": video.reason})
        if len(self.broken) > max(FEW_BROKEN, MOST_BROKEN * len(self.train_set.samples)):
            first = next(iter(sorted(self.broken)))
            raise DataError(
                f"{len(self.broken)} of {len(self.train_set.samples)} training videos cannot be read, among them "
                f"{first}: more than {MOST_BROKEN:.0%}; those met so far are named above"
            )

    def _evaluation_is_due(self) -> bool:
        progress = self.progress
        epoch, within = divmod(progress.step, self.steps_per_epoch)
        at_interval = epoch % self.settings.eval_every == 0 or progress.step >= self.total_steps
        return progress.step > progress.evaluated_step and within == 0 and at_interval

    def _evaluate_and_save(self, display: TrainingDisplay) -> None:
        """Evaluates with one view a video, draws the curves, and saves the last and, if it is, the best checkpoint."""

        def shown(done: int, total: int) -> None:
            display.evaluating(done, total)
            self._stop_if_asked()

        progress = self.progress
        result = evaluate(
            self._model_to_save(), self.val_loader, self.val_set, precision=self.settings.precision, progress=shown
        )
        figures = {"val_top1": result.accuracy(1), "val_top5": result.accuracy(5), "val_loss": result.loss()}
        epoch = progress.step // self.steps_per_epoch
        self.folder.append({"step": progress.step, "epoch": epoch} | figures | {"val_broken": len(result.broken)})
        progress.evaluated_step = progress.step
        if result.accuracy() > progress.best_top1:
            progress.best_top1, progress.best_step = result.accuracy(), progress.step
            with replaced_folder(self.folder.best) as folder:
                write_checkpoint(self._model_to_save(), folder, self._info(result))
        self._save_state()
        plot_curves(self.folder.log, self.folder.curves)
        display.say(
            f"epoch {epoch}/{self.settings.epochs}  top-1 {result.accuracy():.3f} (best {progress.best_top1:.3f})  "
            f"top-5 {result.accuracy(5):.3f}  loss {result.loss():.3f}  "
            f"{progress.clips / max(progress.training_s, 1e-9):.0f} clips/s"
        )

    def _model_to_save(self) -> MorphMLP:
        return self.raw_model if self.averaged is None else self.averaged.module  # type: ignore[return-value]

    def _info(self, result: Evaluation | None = None) -> CheckpointInfo:
        """What the checkpoint says beside the weights."""
        progress = self.progress
        summary: dict[str, Any] = {
            "data": self.config.data,
            "videos": len(self.train_set.samples),
            "epochs": round(progress.step / self.steps_per_epoch, 3),
            "init": self.config.init,
            "split": self.config.split.to_dict(),
            "settings": self.settings.to_dict(),
        }
        if result is not None:
            summary |= {"val_top1": result.accuracy(), "val_videos": len(result.predictions)}
        return CheckpointInfo(input=self.config.input, labels=list(self.train_set.classes), training=summary)

    def _save_state(self) -> None:
        """Writes `last`: a checkpoint like any other, and beside it what resuming needs."""
        state = {
            "progress": asdict(self.progress),
            "data": self._fingerprint(),
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
        if state["data"] != self._fingerprint():
            raise DataError(
                f"the videos of {self.config.data} are not those that the run was started with; "
                "restore them, or start a new run with --init"
            )
        self.progress = Progress(**state["progress"])
        self.raw_model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def _fingerprint(self) -> str:
        """Identifies the training videos by label and by path below the data folder, in order."""
        samples = self.train_set.samples
        lines = "\n".join(f"{os.path.relpath(s.path, self.config.data)}\t{s.label}" for s in samples)
        return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()

    def _announce(self, display: TrainingDisplay, notes: list[str]) -> None:
        model = self.config.model
        parameters = sum(parameter.numel() for parameter in self.raw_model.parameters())
        display.say(
            f"{model.name}, {model.frames} frames at {self.config.input.crop[0]} x {self.config.input.crop[1]} px, "
            f"{parameters / 1e6:.2f} M parameters, on {self.accelerator.device}"
        )
        display.say(
            f"{len(self.train_set.samples)} training and {len(self.val_set.samples)} validation videos of "
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
