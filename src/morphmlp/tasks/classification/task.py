"""Classification, as the rest of the package sees it; torch is imported where it is used."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from morphmlp.config import ListConfig, RunConfig, SplitConfig
from morphmlp.tasks.task import Compared, Report, Task, TrainingTask

if TYPE_CHECKING:
    from morphmlp.data.sets.labelled import LabelledSet
    from morphmlp.inference.device import Execution
    from morphmlp.models.morphmlp import MorphMLP
    from morphmlp.tasks.classification.evaluation import Evaluation
    from morphmlp.tasks.classification.timeline.evaluation import TimelineEvaluation


TIMELINE_OPTIONS = ("length", "step", "threshold", "low", "shortest")  # of `evaluate --timeline`
REVIEW_OPTIONS = ("baseline", "group_pattern", "out_of_fold")  # of `evaluate` without `--timeline`
TIMELINE_FILES = ("summary.json", "segments.csv", "timelines.html", "timelines")  # what it writes


class Classification(Task):
    """Which class a video or an image shows."""

    name = "classification"
    model_noun = "classifier"
    verb = "predict"
    metric = "top1"
    figures: ClassVar = {"top1": "top-1", "top5": "top-5"}
    default_models: ClassVar = {"video": "morphmlp_video_nano", "image": "morphmlp_image_nano"}
    reading_part = "lists"
    reading = ListConfig
    options = (
        "lists",
        "clips",
        "crops",
        "aggregation",
        "shuffle_frames",
        "timeline",
        *TIMELINE_OPTIONS,
        *REVIEW_OPTIONS,
    )
    output_files = ("summary.json", "predictions.csv", "confusion.png", "index.html")
    unit = "files"

    def recognises(self, data: str | Path) -> bool:
        return True  # class folders, lists and shards have no mark of their own

    def read_sets(self, data: str | Path, split: SplitConfig, reading: ListConfig) -> "tuple[LabelledSet, LabelledSet]":
        from morphmlp.data.sets.read import read_training_sets

        return read_training_sets(data, split, reading)

    def completed(self, config: RunConfig, sets: "tuple[LabelledSet, LabelledSet]") -> RunConfig:
        """With the length of windows, and the task that the sets are for: several labels make a multi-label one."""
        window_s, multi_label = sets[0].window_s, sets[0].multi_label
        lists = replace(config.lists, window=window_s)
        config = replace(config, lists=lists, input=replace(config.input, window_s=window_s))
        if not multi_label:
            return replace(config, model=replace(config.model, task="classification"))
        return replace(
            config,
            lists=replace(lists, multi_label=True),
            model=replace(config.model, task="multi_label"),
            input=replace(config.input, aggregation="probabilities"),  # the mean of the sigmoids
        )

    def for_training(self, config: RunConfig, sets: "tuple[LabelledSet, LabelledSet]") -> TrainingTask:
        from morphmlp.tasks.classification.training import ClassificationTask

        return ClassificationTask(config, sets)

    def fit_probe(self, model: "MorphMLP", config: RunConfig, sets: "tuple[LabelledSet, LabelledSet]") -> str:
        from morphmlp.display.progress_bar import counting
        from morphmlp.distributed import is_main
        from morphmlp.output import tell
        from morphmlp.signals import Terminated
        from morphmlp.tasks.classification.probe import fit_probe

        try:
            with counting(sets[0].unit, enabled=is_main(), lines=True) as progress:
                return fit_probe(model, config, sets, progress=progress).describe(sets[0].unit)
        except (KeyboardInterrupt, Terminated):
            tell("the features that were computed so far are kept; the same command goes on from there")
            raise

    def out_of_fold(self) -> Any:
        from morphmlp.tasks.classification import out_of_fold

        return out_of_fold

    def evaluate(
        self,
        checkpoint: str | Path,
        data: str | Path,
        *,
        split: str | None,
        options: Mapping[str, Any],
        execution: "Execution",
    ) -> "Evaluation | TimelineEvaluation":
        protocol = protocol_of(options) | {"split": split, "execution": execution}
        if options.get("timeline"):
            from morphmlp.tasks.classification.timeline.evaluation import evaluate_timelines

            settings = {f"{name}_s": options.get(name) for name in ("length", "step", "shortest")}
            settings |= {name: options.get(name) for name in ("threshold", "low")}
            return evaluate_timelines(checkpoint, data, settings=settings, **protocol)
        from morphmlp.tasks.classification.evaluation import evaluate_checkpoint
        from morphmlp.tasks.classification.review.asked import require_usable

        require_usable(options)
        shuffle_frames = options.get("shuffle_frames", False)
        group_pattern = options.get("group_pattern")
        return evaluate_checkpoint(
            checkpoint, data, shuffle_frames=shuffle_frames, group_pattern=group_pattern, **protocol
        )

    def review(
        self,
        evaluation: Any,
        checkpoint: str | Path,
        data: str | Path,
        *,
        split: str | None,
        options: Mapping[str, Any],
        execution: "Execution",
    ) -> Any:
        from morphmlp.tasks.classification.evaluation import Evaluation
        from morphmlp.tasks.classification.review.asked import reviewed

        if not isinstance(evaluation, Evaluation):
            return evaluation
        return reviewed(evaluation, checkpoint, data, split=split, options=options, execution=execution)

    def compare(
        self,
        evaluation: Any,
        train: "LabelledSet",
        *,
        split: SplitConfig,
        workers: int,
        progress: Callable[[int, int], None],
    ) -> Compared | None:
        from morphmlp.tasks.classification.evaluation import Evaluation
        from morphmlp.tasks.classification.review.comparisons import as_compared, three_comparisons

        if not isinstance(evaluation, Evaluation):  # as one of several labels a sample
            return None
        return as_compared(three_comparisons(evaluation, train, split=split, workers=workers, progress=progress))

    def report(self) -> Report:
        from morphmlp.tasks.classification import report

        return report


def protocol_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Of the options of `evaluate` those of the protocol, by the names that `evaluate_checkpoint` has for them."""
    names = {"num_clips": "clips", "num_crops": "crops", "aggregation": "aggregation", "lists": "lists"}
    return {name: options.get(option) for name, option in names.items()}


def timeline_report() -> Report:
    """What shows the evaluations of `evaluate --timeline`."""
    from morphmlp.tasks.classification.timeline import report

    return report
