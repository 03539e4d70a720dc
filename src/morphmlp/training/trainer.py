"""The training loop: one visible loop that can be stopped at any step and resumed, in one process or in many.

Nothing random has a state to carry: the clips follow from (seed, pass, index), mixup and stochastic depth from (seed,
step, process). So a resumed run on the CPU is bit-equal to one that was never stopped.
"""

import math
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.tracking import GeneralTracker
from torch import distributed

from morphmlp.checkpoints.folder import CheckpointInfo, write_checkpoint
from morphmlp.config import RunConfig
from morphmlp.data.batches.loaders import BrokenSample
from morphmlp.data.batches.samplers import EpochBatches
from morphmlp.display.curves import plot_curves
from morphmlp.distributed import gather, is_main, rank, same_buffers, world_size
from morphmlp.errors import CheckpointError, DataError, UserError
from morphmlp.files import replaced_folder
from morphmlp.formatting import rate
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.tasks.task import Scores, Task
from morphmlp.training.console import TrainingDisplay
from morphmlp.training.learner import Learner, NotFinite
from morphmlp.training.optim import lr_at
from morphmlp.training.run_folder import Progress, RunFolder
from morphmlp.training.state import read_state, write_state
from morphmlp.training.stopping import Interrupted, LostProcessError, _Stop, resume_command
from morphmlp.training.trackers import started_trackers

METRIC_NAMES = {"top1": "top-1", "top5": "top-5", "miou": "mIoU", "pixel_accuracy": "pixel accuracy"}
FEW_BROKEN = 3  # so many samples may be unreadable in any case


class NotFiniteError(UserError):
    """The loss or its gradient became NaN or infinite."""


class Trainer:
    """A run's state and its loop. Every process has one; only the main one writes and shows anything."""

    def __init__(self, config: RunConfig, folder: RunFolder, task: Task, model: MorphMLP):
        settings = config.train
        self.config, self.settings, self.folder, self.task = config, settings, folder, task
        self.progress = Progress()
        self.broken: set[Path] = set()
        self.broken_val: set[Path] = set()
        self.caught_signal: int | None = None
        self.saved_step = 0
        self.trackers: list[GeneralTracker] = []

        self.learner = Learner(config, task, model)
        self.is_main = is_main()
        self.batches = EpochBatches(
            len(task.train_paths),
            batch_size=settings.batch_size,
            seed=settings.seed,
            accumulate=settings.accumulate,
            labels=task.train_labels if settings.balanced else None,
            rank=rank(),
            num_processes=world_size(),
        )
        self.loader = task.loader(self.batches)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.total_steps = settings.epochs * self.steps_per_epoch

    def fit(self, notes: list[str]) -> None:
        """Trains to the last step; evaluates after every `eval_every` epochs.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; the state is saved.
            LostProcessError: a decoding process or another process of the run ended.
            NotFiniteError, DataError: the loss or the data does not allow to go on.
        """
        display = TrainingDisplay(
            total_steps=self.total_steps, steps_per_epoch=self.steps_per_epoch, enabled=self.is_main
        )
        trackers = started_trackers(self.config, self.folder, step=self.progress.step, enabled=self.is_main)
        with self._signals_caught(), trackers as self.trackers, display:
            self._announce(display, notes)
            try:
                self._fit(display)
            except _Stop as stop:
                if stop.unsaved:
                    self._save_state()
                raise Interrupted(self.caught_signal or signal.SIGTERM, self.folder.path) from None
            except RuntimeError as error:
                lost = self._lost_process(error)
                if lost is None:
                    raise
                raise lost from None

    def _fit(self, display: TrainingDisplay) -> None:
        while True:
            if self._evaluation_is_due():
                self._evaluate_and_save(display)
            if self.progress.step >= self.total_steps:
                return
            self._train_epoch(display)
            self._save_state()

    def _train_epoch(self, display: TrainingDisplay) -> None:
        """Trains to the end of the current epoch, from wherever in it the run is."""
        progress, settings = self.progress, self.settings
        epoch, first_step = divmod(progress.step, self.steps_per_epoch)
        self.batches.start_at(epoch=epoch, step=first_step)
        self.learner.model.train()
        started = time.perf_counter()
        for parts in _grouped(self.loader, settings.accumulate):
            weights, num_clips = self._agree_on(parts, display)
            lr = lr_at(progress.step, settings, steps_per_epoch=self.steps_per_epoch)
            line: dict[str, Any] = {"lr": lr}
            if weights.sum() > 0:
                try:
                    line |= self.learner.step(parts, weights, lr=lr, number=progress.step + 1)
                except NotFinite as error:
                    self._fail_not_finite(parts, str(error))
            progress.step += 1
            progress.clips += num_clips
            ended = time.perf_counter()
            progress.training_s += ended - started
            clips_per_s = num_clips / (ended - started)
            started = ended
            position = {"step": progress.step, "epoch": progress.step / self.steps_per_epoch}
            self._log(position | line | {"clips_per_s": round(clips_per_s, 2)})
            display.step(progress.step, loss=line.get("loss", math.nan), rate=rate(clips_per_s, self.task.unit))
            self._stop_if_asked()
            if settings.save_every and progress.step % settings.save_every == 0:
                self._save_state()
                started = time.perf_counter()

    def _agree_on(self, parts: list[Any], display: TrainingDisplay) -> tuple[torch.Tensor, int]:
        """What all processes bring to the step: the weights of their parts, `[processes, parts]`, and their clips.

        Raises:
            _Stop: a process has been asked to stop.
        """
        stop = self.caught_signal is not None
        broken = sum(len(part.broken) for part in parts)
        num_clips = sum(self.task.num_clips(part) for part in parts)
        told = self.learner.over_processes([stop, broken, num_clips, *(self.task.weight(part) for part in parts)])
        if world_size() > 1 and told[:, 0].any():
            raise _Stop(unsaved=True)
        if told[:, 1].any():
            self._note_broken(gather([sample for part in parts for sample in part.broken]), display)
        return told[:, 3:], int(told[:, 2].sum())

    def _fail_not_finite(self, parts: list[Any], what: str) -> None:
        indices = gather([index for part in parts for index in part.indices])
        paths = ", ".join(str(self.task.train_paths[index]) for index in indices)
        state = f"the last good state is {self.folder.last}" if self.folder.has_state else "no state is saved yet"
        raise NotFiniteError(
            f"the {what} at step {self.progress.step + 1}, on the batch of: {paths}; {state}. "
            f"Look at these {self.task.unit}, or start anew with a lower --lr or --clip_grad, or with --precision fp32"
        )

    def _note_broken(self, samples: list[BrokenSample], display: TrainingDisplay) -> None:
        """Logs each unreadable sample once, and stops when there are too many."""
        for sample in samples:
            if sample.path not in self.broken:
                self.broken.add(sample.path)
                display.broken(sample.path, sample.reason)
                self._log({"step": self.progress.step, "broken": str(sample.path), "reason": sample.reason})
        total, most = len(self.task.train_paths), self.settings.max_broken
        if len(self.broken) == total or len(self.broken) > max(FEW_BROKEN, most * total):
            first = min(self.broken)
            raise DataError(
                f"{len(self.broken)} of {total} training {self.task.unit} cannot be read, among them {first}: more "
                f"than {most:.0%} (--max_broken); those met so far are named above, `morphmlp check-data` finds all"
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
            if self.caught_signal is not None:
                raise _Stop(unsaved=False)  # the end of the epoch is saved

        progress = self.progress
        model = self.learner.model_to_save()
        same_buffers(model)
        scores = self.task.evaluate(model, shown)
        epoch = progress.step // self.steps_per_epoch
        figures = {f"val_{name}": value for name, value in scores.figures.items()}
        self._log({"step": progress.step, "epoch": epoch} | figures | {"val_broken": len(scores.broken)})
        for path, reason in scores.broken:
            if path not in self.broken_val:
                display.broken(path, reason)
        self.broken_val.update(path for path, _ in scores.broken)
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
            self._write(self.folder.best, model, scores)
        if self.settings.ema_aside:
            self._write(self.folder.averaged, self.learner.averaged_model(), None)
        self._save_state()
        if self.is_main:
            plot_curves(self.folder.log, self.folder.curves, metrics=METRIC_NAMES)
        missing = f"  ({scores.evaluated} of {self.task.num_val} evaluated)" if scores.broken else ""
        display.say(
            f"epoch {epoch}/{self.settings.epochs}  "
            + "  ".join(f"{METRIC_NAMES.get(name, name)} {value:.3f}" for name, value in scores.figures.items())
            + f"  (best {METRIC_NAMES[self.task.metric]} {progress.best_score:.3f})  "
            f"{rate(progress.clips / max(progress.training_s, 1e-9), self.task.unit)}{missing}"
        )

    def _write(self, path: Path, model: MorphMLP, scores: Scores | None) -> None:
        if self.is_main:
            with replaced_folder(path) as folder:
                write_checkpoint(model, folder, self._info(scores))

    def _info(self, scores: Scores | None = None) -> CheckpointInfo:
        """What the checkpoint says beside the weights."""
        progress, config = self.progress, self.config
        summary: dict[str, Any] = {
            "data": config.data,
            self.task.unit: len(self.task.train_paths),
            "epochs": round(progress.step / self.steps_per_epoch, 3),
            "init": config.init,
            "split": config.split.to_dict(),
            "lists": config.lists.to_dict(),
            "masks": config.masks.to_dict(),
            "settings": self.settings.to_dict(),
        }
        if scores is not None:
            summary |= {f"val_{self.task.metric}": scores.figures[self.task.metric]}
            summary |= {f"val_{self.task.unit}": scores.evaluated}
        return CheckpointInfo(input=config.input, labels=list(self.task.classes), training=summary)

    def _save_state(self) -> None:
        """Writes `last`: a checkpoint like any other, and beside it what resuming needs."""
        model = self.learner.model_to_save()
        state = {"progress": asdict(self.progress), "data": self.task.fingerprint} | self.learner.state()

        def write(folder: Path) -> None:
            write_checkpoint(model, folder, self._info())
            write_state(folder, state)

        if self.is_main:
            self.folder.replace_last(write)
        self.saved_step = self.progress.step

    def load_state(self) -> list[str]:
        """Takes up the saved state, and drops what was logged after it; returns notes on it.

        Raises:
            CheckpointError: neither the last state nor the one before it is whole, or they are of another model.
            DataError: the samples have changed.
        """
        self.learner.accelerator.wait_for_everyone()  # the main process has cleaned the folder up
        state, notes = read_state(self.folder)
        if state["data"] != self.task.fingerprint:
            raise DataError(
                f"the {self.task.unit} of {self.config.data} are not those that the run was started with; "
                "restore them, or start a new run with --init"
            )
        try:
            self.progress = Progress(**state["progress"])
            self.learner.put_state(state)
        except Exception as error:  # a foreign file raises many kinds
            reason = type(error).__name__
            raise CheckpointError(
                f"the state in {self.folder.path} is not of this run ({reason}); use --overwrite"
            ) from None
        self.saved_step = self.progress.step
        self.learner.accelerator.wait_for_everyone()  # all have read it
        if self.is_main:
            self.folder.drop_damaged_last()
        broken = self.folder.cut_log(self.progress) if self.is_main else set()
        self.broken = set(gather(sorted(broken)))
        step, within = divmod(self.progress.step, self.steps_per_epoch)
        return [*notes, f"resumes {self.folder.path} after step {within} of epoch {step + 1}"]

    def _announce(self, display: TrainingDisplay, notes: list[str]) -> None:
        model, settings = self.config.model, self.settings
        parameters = sum(parameter.numel() for parameter in self.learner.raw_model.parameters())
        size = " x ".join(map(str, self.config.input.crop))
        frames = f"{model.frames} frames at " if model.temporal else ""
        processes = f" in {world_size()} processes" if world_size() > 1 else ""
        display.say(
            f"{model.name}, {frames}{size} px, {parameters / 1e6:.2f} M parameters, on {self.learner.device}{processes}"
        )
        display.say(
            f"{len(self.task.train_paths)} training and {self.task.num_val} validation {self.task.unit} of "
            f"{model.num_classes} classes; {settings.epochs} epochs of {self.steps_per_epoch} steps"
        )
        for note in [*notes, *self.task.notes]:
            display.say(note)

    def _log(self, line: dict[str, Any]) -> None:
        """A line of the log, and its figures to the trackers."""
        if self.is_main:
            self.folder.append(line)
            figures = {name: value for name, value in line.items() if isinstance(value, int | float) and name != "step"}
            for tracker in self.trackers:
                tracker.log(figures, step=line["step"])

    def _stop_if_asked(self) -> None:
        """Of several processes each may be asked at another step: they agree on one in `_agree_on`."""
        if self.caught_signal is not None and world_size() == 1:
            raise _Stop(unsaved=True)

    def _lost_process(self, error: RuntimeError) -> LostProcessError | None:
        """What to say where another process has ended; None for any other error.

        The state in memory is not saved: this can come in the middle of a step.
        """
        saved = (
            f"the last saved state is of step {self.saved_step}" if self.folder.has_state else "no state is saved yet"
        )
        go_on = f"{saved}; go on with: {resume_command(self.folder.path)}"
        if "DataLoader worker" in str(error):
            return LostProcessError(
                f"a decoding process ended unexpectedly (out of memory?) after step {self.progress.step}; try fewer "
                f"--workers if it comes again; {go_on}"
            )
        if world_size() > 1 and (isinstance(error, distributed.DistError) or "onnection" in str(error)):
            return LostProcessError(f"another process of this run has ended, after step {self.progress.step}; {go_on}")
        return None

    @contextmanager
    def _signals_caught(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM stops the run after the step in progress; a second Ctrl-C at once.

        Of several processes each may be sent a signal twice, by the scheduler and by torchrun: none stops at once.
        """

        def catch(number: int, _: Any) -> None:
            self.caught_signal = number
            if number == signal.SIGINT and world_size() == 1:
                signal.signal(number, before[number])

        before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, catch)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _grouped(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """`size` batches at a time."""
    iterator = iter(batches)
    while group := list(islice(iterator, size)):
        yield group
