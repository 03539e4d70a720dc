"""What a run writes while it goes on: its log, its checkpoints and its state. Only the main process writes."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker

from morphmlp.checkpoints.folder import CheckpointInfo, load_with_info, write_checkpoint
from morphmlp.config import RunConfig
from morphmlp.config.run import READINGS
from morphmlp.display.curves import plot_curves
from morphmlp.distributed import is_main
from morphmlp.files import replaced_folder
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.tasks.task import EvaluatedPart, Scores, TrainingTask
from morphmlp.training.run_folder import Progress, RunFolder
from morphmlp.training.state import write_state
from morphmlp.training.trackers import send


class RunRecord:
    """Writes into the folder of a run, and sends the figures of the log to the trackers."""

    def __init__(self, config: RunConfig, folder: RunFolder, task: TrainingTask, *, steps_per_epoch: int):
        self.config, self.folder, self.task, self.steps_per_epoch = config, folder, task, steps_per_epoch
        self.trackers: list[GeneralTracker] = []
        self.saved_step: int | None = None

    def log(self, line: dict[str, Any]) -> None:
        """A line of the log, and its figures to the trackers."""
        if is_main():
            self.folder.append(line)
            figures = {name: value for name, value in line.items() if isinstance(value, int | float) and name != "step"}
            if line.get("final") != "best":  # of an earlier step, which trackers refuse
                send(self.trackers, figures, step=line["step"])

    def draw_curves(self) -> None:
        """Draws the log."""
        if is_main():
            plot_curves(self.folder.log, self.folder.curves, metrics=self.task.figures, part=self.task.chosen_on)

    def checkpoint(self, path: Path, model: MorphMLP, progress: Progress, scores: Scores | None) -> None:
        """Writes a checkpoint in the place of an earlier one; the scores are those that the epoch is chosen by."""
        if is_main():
            figures = {} if scores is None else self._figures(scores, part=self.task.chosen_on)
            with replaced_folder(path) as folder:
                write_checkpoint(model, folder, self._info(progress, figures))

    def add_figures(self, path: Path, scores: Scores) -> None:
        """Adds the figures of the validation part to a checkpoint that was chosen on another one."""
        if is_main():
            model, info = load_with_info(path)
            training = info.training | self._figures(scores, part="val")
            with replaced_folder(path) as folder:
                write_checkpoint(model, folder, replace(info, training=training))

    def state(self, model: MorphMLP, progress: Progress, learner_state: dict[str, Any]) -> None:
        """Writes `last`: a checkpoint like any other, and beside it what resuming needs."""

        def write(folder: Path) -> None:
            write_checkpoint(model, folder, self._info(progress, {}))
            own = {"progress": asdict(progress), "data": self.task.fingerprint, "answers": dict(self.task.answers())}
            write_state(folder, own | learner_state)

        if is_main():
            self.folder.replace_last(write)
        self.saved_step = progress.step

    def _figures(self, scores: Scores, *, part: EvaluatedPart) -> dict[str, Any]:
        metric, unit = self.task.metric, self.task.unit
        return {f"{part}_{metric}": scores.figures[metric], f"{part}_{unit}": scores.evaluated}

    def _info(self, progress: Progress, figures: dict[str, Any]) -> CheckpointInfo:
        """What the checkpoint says beside the weights."""
        task, config = self.task, self.config
        summary: dict[str, Any] = {
            "data": config.data,
            task.unit: len(task.train_paths),
            **task.summary(),
            "epochs": round(progress.step / self.steps_per_epoch, 3),
            "init": config.init,
            **{name: getattr(config, name).to_dict() for name in READINGS},
            "settings": config.train.to_dict(),
            **figures,
        }
        return CheckpointInfo(input=config.input, labels=list(task.classes), training=summary, **task.answers())
