"""The training loop: one visible loop that can be stopped at any step and resumed, in one process or in many.

Nothing random has a state to carry: the clips follow from (seed, pass, index), mixup and stochastic depth from (seed,
step, process). So a resumed run on the CPU is bit-equal to one that was never stopped.
"""

import math
import signal
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch

from morphmlp.checkpoints.folder import load_with_info
from morphmlp.config import RunConfig
from morphmlp.data.batches.loaders import BrokenSample
from morphmlp.data.batches.samplers import EpochBatches
from morphmlp.data.media.sources import Source
from morphmlp.distributed import gather, is_main, rank, same_buffers, world_size
from morphmlp.errors import CheckpointError, DataError, NotFiniteError
from morphmlp.formatting import rate
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.tasks.task import TrainingTask
from morphmlp.training.broken import BrokenSamples
from morphmlp.training.console import TrainingDisplay
from morphmlp.training.evaluations import Evaluations
from morphmlp.training.learner import Learner, NotFinite
from morphmlp.training.optim import lr_at
from morphmlp.training.record import RunRecord
from morphmlp.training.run_folder import Progress, RunFolder
from morphmlp.training.state import read_state
from morphmlp.training.stopping import Interrupted, Stop, StopSignal, lost_process
from morphmlp.training.trackers import started_trackers


class Trainer:
    """A run's state and its loop. Every process has one; only the main one writes and shows anything."""

    def __init__(self, config: RunConfig, folder: RunFolder, task: TrainingTask, model: MorphMLP):
        settings = config.train
        self.config, self.settings, self.folder, self.task = config, settings, folder, task
        self.progress = Progress()
        self.broken = BrokenSamples(len(task.train_paths), unit=task.unit, max_share=settings.max_broken)
        self.incomplete: set[Source] = set()
        self.stop_signal = StopSignal()
        self.learner = Learner(config, task, model)
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
        self.total_steps = 0 if settings.probe else settings.epochs * self.steps_per_epoch  # a probe is fitted already
        self.record = RunRecord(config, folder, task, steps_per_epoch=self.steps_per_epoch)
        self.evaluations = Evaluations(task, self.record, self.stop_signal)

    def fit(self, notes: list[str]) -> None:
        """Trains to the last step, or until it gains no more; evaluates after every `eval_every` epochs.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; the state is saved.
            LostProcessError: a decoding process or another process of the run ended.
            NotFiniteError, DataError: the run cannot go on with this loss or this data.
        """
        display = TrainingDisplay(total_steps=self.total_steps, steps_per_epoch=self.steps_per_epoch, enabled=is_main())
        trackers = started_trackers(self.config, self.folder, step=self.progress.step, enabled=is_main())
        with self.stop_signal.caught(), trackers as self.record.trackers, display:
            display.announce(self.config, self.task, self.learner, notes)
            try:
                self._fit(display)
            except Stop as stop:
                if stop.unsaved:
                    self._save_state()
                raise Interrupted(self.stop_signal.number or signal.SIGTERM, self.folder.path) from None
            except RuntimeError as error:
                saved_step = self.record.saved_step if self.folder.has_state else None
                lost = lost_process(error, step=self.progress.step, saved_step=saved_step, out=self.folder.path)
                if lost is None:
                    raise
                raise lost from None

    def _fit(self, display: TrainingDisplay) -> None:
        while True:
            if self._evaluation_is_due():
                self._evaluate_and_save(display)
            if self.is_over:
                display.ended(self.progress, self.settings.patience)
                break
            self._train_epoch(display)
            self._save_state()
        if self.task.chosen_on != "val":
            self._evaluate_chosen(display)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to train: all steps are done, or `patience` is at its end."""
        if self.progress.step >= self.total_steps:
            return True
        interval = self.settings.eval_every * self.steps_per_epoch
        without_gain = self.progress.evaluated_step // interval - self.progress.best_step // interval
        return self.settings.patience is not None and without_gain >= self.settings.patience

    def _train_epoch(self, display: TrainingDisplay) -> None:
        """Trains to the end of the current epoch, from wherever in it the run is."""
        progress, settings = self.progress, self.settings
        epoch, first_step = divmod(progress.step, self.steps_per_epoch)
        self.batches.start_at(epoch=epoch, step=first_step)
        self.learner.model.train()
        started = time.perf_counter()
        for parts in self._grouped_batches():
            weights, num_clips = self._agree_on(parts, display)
            line = self._step(parts, weights)
            progress.step += 1
            progress.clips += num_clips
            ended = time.perf_counter()
            progress.training_s += ended - started
            clips_per_s = num_clips / (ended - started)
            started = ended
            position = {"step": progress.step, "epoch": progress.step / self.steps_per_epoch}
            self.record.log(position | line | {"clips_per_s": round(clips_per_s, 2)})
            display.step(progress.step, loss=line.get("loss", math.nan), rate=rate(clips_per_s, self.task.unit))
            if self.stop_signal.came and world_size() == 1:  # several processes agree on a step in `_agree_on`
                raise Stop(unsaved=True)
            if settings.save_every and progress.step % settings.save_every == 0:
                self._save_state()
                started = time.perf_counter()

    def _grouped_batches(self) -> Iterator[list[Any]]:
        """The batches of each step.

        Raises:
            Stop: a signal came while the decoding processes are waited for; several processes agree in `_agree_on`.
        """
        batches = iter(self.loader)
        waits = self.loader.num_workers > 0 and world_size() == 1
        while True:
            with self.stop_signal.raises(Stop(unsaved=True) if waits else None):
                parts = list(islice(batches, self.settings.accumulate))
            if not parts:
                return
            yield parts

    def _agree_on(self, parts: list[Any], display: TrainingDisplay) -> tuple[torch.Tensor, int]:
        """What all processes bring to the step: the weights of their parts, `[processes, parts]`, and their clips.

        Raises:
            Stop: a process has been asked to stop.
        """
        broken = sum(len(part.broken) for part in parts)
        incomplete = {i: note for part in parts for i, note in getattr(part, "incomplete", {}).items()}
        num_clips = sum(self.task.num_clips(part) for part in parts)
        weights = [self.task.weight(part) for part in parts]
        told = self.learner.over_processes([self.stop_signal.came, broken, len(incomplete), num_clips, *weights])
        if world_size() > 1 and told[:, 0].any():
            raise Stop(unsaved=True)
        if told[:, 1].any():
            self._note_broken(gather([sample for part in parts for sample in part.broken]), display)
        if told[:, 2].any():
            self._note_incomplete(gather(list(incomplete.items())), display)
        return told[:, 4:], int(told[:, 3].sum())

    def _note_broken(self, samples: list[BrokenSample], display: TrainingDisplay) -> None:
        """Logs each unreadable sample once, and stops when there are too many."""
        for sample in self.broken.add(samples):
            display.broken(sample.path, sample.reason)
            self.record.log({"step": self.progress.step, "broken": str(sample.path), "reason": sample.reason})
        self.broken.require_few()

    def _note_incomplete(self, videos: list[tuple[int, str]], display: TrainingDisplay) -> None:
        """Logs each video that was cut off or damaged once; it is trained on as far as it can be read."""
        for index, note in videos:
            path = self.task.train_paths[index]
            if path not in self.incomplete:
                self.incomplete.add(path)
                display.incomplete(len(self.incomplete), path, note)
                self.record.log({"step": self.progress.step, "incomplete": str(path), "reason": note})

    def _step(self, parts: list[Any], weights: torch.Tensor) -> dict[str, Any]:
        """One optimizer step, unless no sample of it can be read; returns what to log of it."""
        lr = lr_at(self.progress.step, self.settings, steps_per_epoch=self.steps_per_epoch)
        if not weights.sum() > 0:
            return {"lr": lr}
        try:
            return {"lr": lr} | self.learner.step(parts, weights, lr=lr, number=self.progress.step + 1)
        except NotFinite as error:
            indices = gather([index for part in parts for index in part.indices])
            paths = ", ".join(str(self.task.train_paths[index]) for index in indices)
            state = f"the last good state is {self.folder.last}" if self.folder.has_state else "no state is saved yet"
            raise NotFiniteError(
                f"the {error} at step {self.progress.step + 1}, on the batch of: {paths}; {state}. Look at these "
                f"{self.task.unit}, or start anew with a lower --lr or --clip_grad, or with --precision fp32"
            ) from error

    def _evaluation_is_due(self) -> bool:
        progress = self.progress
        epoch, within = divmod(progress.step, self.steps_per_epoch)
        at_interval = epoch % self.settings.eval_every == 0 or progress.step >= self.total_steps
        if self.total_steps == 0:
            return progress.last_score is None
        return progress.step > progress.evaluated_step and within == 0 and at_interval

    def _evaluate_and_save(self, display: TrainingDisplay) -> None:
        """Evaluates, draws the curves, and saves the last checkpoint, and the best one if this one is better."""
        progress, part = self.progress, self.task.chosen_on
        model = self.learner.model_to_save()
        same_buffers(model)
        epoch = progress.step // self.steps_per_epoch
        scores = self.evaluations.run(model, display, part, step=progress.step, epoch=epoch)
        progress.evaluated_step = progress.step
        progress.last_score = score = scores.figures[self.task.metric]
        if score > progress.best_score:
            progress.best_score, progress.best_step = score, progress.step
            self.record.checkpoint(self.folder.best, model, progress, scores)
        if self.settings.ema_aside:
            self.record.checkpoint(self.folder.averaged, self.learner.averaged_model(), progress, None)
        self._save_state()
        self.record.draw_curves()
        display.evaluated(scores, self.task, progress)
        self.evaluations.keep(progress.best_step, progress.step)

    def _evaluate_chosen(self, display: TrainingDisplay) -> None:
        """Evaluates the last and the best epoch on the validation part, which has chosen neither."""
        progress, evaluate = self.progress, self.evaluations.run
        epochs = progress.step // self.steps_per_epoch, progress.best_step // self.steps_per_epoch
        last_model = self.learner.model_to_save()
        last = evaluate(last_model, display, "val", step=progress.step, epoch=epochs[0], final="last")
        self.learner.accelerator.wait_for_everyone()  # the main process has written the best one
        if progress.best_step != progress.step:
            best_model, info = load_with_info(self.folder.best)
            of_last = self.task.answers()
            self.task.put_answers({name: getattr(info, name) for name in of_last})
            try:
                best_model = best_model.to(self.learner.device)
                best = evaluate(best_model, display, "val", step=progress.best_step, epoch=epochs[1], final="best")
            finally:
                self.task.put_answers(of_last)
        else:
            best = last
        self.record.add_figures(self.folder.best, best)

    def _save_state(self) -> None:
        self.record.state(self.learner.model_to_save(), self.progress, self.learner.state())

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
            self.task.put_answers(state.get("answers", {}))  # earlier versions have kept none
        except Exception as error:  # a foreign file raises many kinds
            reason = type(error).__name__
            raise CheckpointError(
                f"the state in {self.folder.path} is not of this run ({reason}); use --overwrite"
            ) from None
        self.record.saved_step = self.progress.step
        self.learner.accelerator.wait_for_everyone()  # all have read it
        if is_main():
            self.folder.drop_damaged_last()
        broken = self.folder.cut_log(self.progress) if is_main() else set()
        self.broken.paths = set(gather(sorted(broken)))
        step, within = divmod(self.progress.step, self.steps_per_epoch)
        return [*notes, f"resumes {self.folder.path} after step {within} of epoch {step + 1}"]
