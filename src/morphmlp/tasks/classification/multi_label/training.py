"""Training a multi-label classifier: the task that `training/run.py` runs on lists of several labels."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from morphmlp.config import RunConfig
from morphmlp.data.sets.labelled import LabelledSet
from morphmlp.errors import ConfigError
from morphmlp.inference.device import Execution
from morphmlp.tasks.classification.losses import binary_cross_entropy, positive_weights
from morphmlp.tasks.classification.multi_label.evaluation import evaluate, truth_of
from morphmlp.tasks.classification.multi_label.metrics import require_torchmetrics
from morphmlp.tasks.classification.multi_label.task import MultiLabel
from morphmlp.tasks.classification.training import ClassificationTask
from morphmlp.tasks.task import EvaluatedPart, Scores


class MultiLabelTask(ClassificationTask):
    """Binary cross-entropy of every class on mixed clips; the thresholds are fitted at each evaluation."""

    metric, figures = MultiLabel.metric, MultiLabel.figures
    criterion: ClassVar[Callable[..., Tensor]] = staticmethod(binary_cross_entropy)

    def __init__(self, config: RunConfig, sets: tuple[LabelledSet, LabelledSet]):
        require_torchmetrics()
        if config.train.balanced:
            raise ConfigError(
                "train.balanced is True; allowed: False for several labels a row, as a draw for one class draws others "
                "too; --class_weights balanced weighs the classes instead"
            )
        super().__init__(config, sets)
        self.notes = [_described(self.train_set), *self.notes]
        self._thresholds: list[float] | None = None

    def answers(self) -> dict[str, Any]:
        if self._thresholds is None:  # nothing has been evaluated yet
            return {}
        part = "held-out training" if self.chosen_on == "select" else "validation"
        return {"thresholds": self._thresholds, "thresholds_from": f"the {self.num_chosen_on} {part} {self.unit}"}

    def put_answers(self, answers: Mapping[str, Any]) -> None:
        self._thresholds = answers.get("thresholds")

    def evaluate(
        self, model: nn.Module, progress: Callable[[int, int], None], *, part: EvaluatedPart = "val"
    ) -> Scores:
        """The thresholds are fitted on the part that the epoch is chosen on, and only used on another."""
        execution = Execution(precision=self.config.train.precision, progress=progress)
        fits = part == self.chosen_on
        known = None if fits else self._thresholds
        result = evaluate(model, self.test_loaders[part], self.parts[part], execution, thresholds=known)
        if fits:
            self._thresholds = [round(threshold, 6) for threshold in result.thresholds.tolist()]
        figures = {"map": result.mean_average_precision(), "f1": result.macro_f1(), "loss": result.loss()}
        return Scores(figures, evaluated=len(result.samples), broken=result.broken, evaluation=result)

    def _class_weights(self) -> Tensor | None:
        truth = truth_of(self.train_set.samples, len(self.classes))
        return positive_weights(self.config.train.class_weights, truth.sum(axis=0).tolist(), len(truth))


def _described(train_set: LabelledSet) -> str:
    """What sort of set it is, for the start of a training.

    several labels a video: 1.8 of 12 classes on average, and 3 of 226 videos have none
    """
    counts = [len(sample.classes) for sample in train_set.samples]
    unit, mean = train_set.unit, sum(counts) / len(counts)
    none = counts.count(0)
    without = f", and {none} of {len(counts)} {unit} have none" if none else ""
    return f"several labels a {unit[:-1]}: {mean:.1f} of {len(train_set.classes)} classes on average{without}"
