"""Multi-label classification, as the rest of the package sees it; torch is imported where it is used.

The model, its input and how lists are read are those of classification. What differs is what the outputs mean, and so
the loss, the figures and the report.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from morphmlp.config import RunConfig
from morphmlp.tasks.classification.task import Classification, protocol_of
from morphmlp.tasks.task import Report, TrainingTask

if TYPE_CHECKING:
    from morphmlp.data.sets.labelled import LabelledSet
    from morphmlp.inference.device import Execution


class MultiLabel(Classification):
    """Which of the classes a video or an image shows, each with a probability of its own."""

    name = "multi_label"
    model_noun = "multi-label classifier"
    metric = "map"
    figures: ClassVar = {"map": "mAP", "f1": "macro F1"}
    default_models: ClassVar = {}  # its sets are found among those of classification, when they are read
    options = ("lists", "clips", "crops", "aggregation", "shuffle_frames")
    output_files = ("summary.json", "predictions.csv", "per_class.csv", "classes.png")

    def recognises(self, data: str | Path) -> bool:
        return False  # `Classification.completed` makes it the task of a run whose samples have several labels

    def for_training(self, config: RunConfig, sets: "tuple[LabelledSet, LabelledSet]") -> TrainingTask:
        from morphmlp.tasks.classification.multi_label.training import MultiLabelTask

        return MultiLabelTask(config, sets)

    def evaluate(
        self,
        checkpoint: str | Path,
        data: str | Path,
        *,
        split: str | None,
        options: Mapping[str, Any],
        execution: "Execution",
    ) -> Any:  # a MultiLabelEvaluation, which is no Evaluation
        from morphmlp.tasks.classification.multi_label.evaluation import evaluate_checkpoint

        protocol = protocol_of(options) | {"split": split, "execution": execution}
        shuffle_frames = options.get("shuffle_frames", False)
        return evaluate_checkpoint(checkpoint, data, shuffle_frames=shuffle_frames, **protocol)

    def report(self) -> Report:
        from morphmlp.tasks.classification.multi_label import report

        return report
