"""The evaluations within a run: on the part that the epoch is chosen on, and at the end on the validation part."""

import math
from typing import Any

from morphmlp.data.media.sources import Source
from morphmlp.distributed import world_size
from morphmlp.errors import DataError
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.tasks.task import EvaluatedPart, Scores, TrainingTask
from morphmlp.training.console import TrainingDisplay
from morphmlp.training.record import RunRecord
from morphmlp.training.stopping import Stop, StopSignal


class Evaluations:
    """Evaluates, logs and shows.

    Attributes:
        on_val: the scores on the validation part that this process has found and are still of use, by step.
        unreadable: the samples that could not be read, by part.
    """

    def __init__(self, task: TrainingTask, record: RunRecord, stop_signal: StopSignal):
        self.task, self.record, self.stop_signal = task, record, stop_signal
        self.on_val: dict[int, Scores] = {}
        self.unreadable: dict[EvaluatedPart, set[Source]] = {"select": set(), "val": set()}

    def run(
        self, model: MorphMLP, display: TrainingDisplay, part: EvaluatedPart, *, step: int, **position: Any
    ) -> Scores:
        """Evaluates the model of a step on a part; logs its scores and the samples that could not be read.

        Args:
            position: what the line of the log says of the step beside it.

        Raises:
            DataError: there is nothing to evaluate.
            Stop: the process has been asked to stop; the end of the epoch is saved already.
        """

        def shown(done: int, total: int) -> None:
            display.evaluating(done, total)
            if self.stop_signal.came:
                raise Stop(unsaved=False)

        with self.stop_signal.raises(Stop(unsaved=False) if world_size() == 1 else None):
            scores = self.task.evaluate(model, shown, part=part)
        figures = {f"{part}_{name}": value for name, value in scores.figures.items()}
        self.record.log({"step": step} | position | figures | {f"{part}_broken": len(scores.broken)})
        unreadable = self.unreadable[part]
        for path, reason in scores.broken:
            if path not in unreadable:
                display.broken(path, reason)
        unreadable.update(path for path, _ in scores.broken)
        if math.isnan(scores.figures[self.task.metric]):
            raise DataError(self.task.reason_for_nan())
        if part == "val":
            self.on_val[step] = scores
        return scores

    def keep(self, *steps: int) -> None:
        """Forgets the scores of other steps."""
        self.on_val = {step: scores for step, scores in self.on_val.items() if step in steps}
