"""Segmentation, as the rest of the package sees it; torch is imported where it is used."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from morphmlp.config import MaskConfig, RunConfig, SplitConfig
from morphmlp.tasks.task import AnnotatedSet, Report, Task, TrainingTask

if TYPE_CHECKING:
    from morphmlp.inference.device import Execution
    from morphmlp.tasks.segmentation.annotations import MaskSet
    from morphmlp.tasks.segmentation.evaluation import MaskEvaluation


class Segmentation(Task):
    """Which class each pixel of an image shows (Sec. 4.4)."""

    name = "segmentation"
    model_noun = "segmenter"
    verb = "segment"
    metric = "miou"
    figures: ClassVar = {"miou": "mIoU", "pixel_accuracy": "pixel accuracy"}
    default_models: ClassVar = {"mask": "morphmlp_image_nano"}
    reading_part = "masks"
    reading = MaskConfig
    options = ("masks",)
    output_files = ("summary.json", "per_class.csv", "confusion.png")
    unit = "images"
    head_fields = ("decoder_width",)
    head_noun = "Semantic FPN"
    last_layer = "head.classifier"

    def recognises(self, data: str | Path) -> bool:
        from morphmlp.tasks.segmentation.annotations import is_mask_data

        return is_mask_data(data)

    def read_sets(self, data: str | Path, split: SplitConfig, reading: MaskConfig) -> "tuple[MaskSet, MaskSet]":
        from morphmlp.tasks.segmentation.annotations import read_mask_sets

        return read_mask_sets(data, reading, split)

    def pairs_to_check(self, data: Path, split: SplitConfig, reading: MaskConfig) -> AnnotatedSet:
        from morphmlp.tasks.segmentation.checking import pairs_to_check

        return pairs_to_check(data, split, reading)

    def for_training(self, config: RunConfig, sets: "tuple[MaskSet, MaskSet]") -> TrainingTask:
        from morphmlp.tasks.segmentation.training import SegmentationTask

        return SegmentationTask(config, sets)

    def evaluate(
        self,
        checkpoint: str | Path,
        data: str | Path,
        *,
        split: str | None,
        options: Mapping[str, Any],
        execution: "Execution",
    ) -> "MaskEvaluation":
        from morphmlp.tasks.segmentation.evaluation import evaluate_checkpoint

        return evaluate_checkpoint(checkpoint, data, split=split, masks=options.get("masks"), execution=execution)

    def report(self) -> Report:
        from morphmlp.tasks.segmentation import report

        return report
