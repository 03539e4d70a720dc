"""Training a segmenter: the task that `training/run.py` runs on images with masks (Sec. 4.4)."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from morphmlp.config import RunConfig
from morphmlp.data.batches.samplers import share_of
from morphmlp.data.sets.find import describe_left_out
from morphmlp.distributed import rank, world_size
from morphmlp.errors import ConfigError
from morphmlp.inference.device import Execution
from morphmlp.system import relative_path
from morphmlp.tasks.segmentation.annotations import IGNORED, MaskSet, describe_values
from morphmlp.tasks.segmentation.batches import MaskBatch, TestMasks, TrainingMasks, make_crop_loader, make_image_loader
from morphmlp.tasks.segmentation.class_pixels import note_on_classes
from morphmlp.tasks.segmentation.evaluation import evaluate
from morphmlp.tasks.segmentation.task import Segmentation
from morphmlp.tasks.selection import held_out_to_select
from morphmlp.tasks.task import EvaluatedPart, Scores, fingerprint


class SegmentationTask:
    """Cross-entropy on random crops; evaluated on whole images at the size of their annotation. See `TrainingTask`."""

    unit = "images"
    metric, figures = Segmentation.metric, Segmentation.figures

    def __init__(self, config: RunConfig, sets: tuple[MaskSet, MaskSet]):
        self.config = config
        train_set, self.val_set = sets
        self.train_set, select_set = held_out_to_select(train_set, [0] * len(train_set.samples), config)
        self.classes = list(self.train_set.classes)
        self.train_paths = [sample.path for sample in self.train_set.samples]
        self.train_labels: list[int] = []
        if config.train.balanced:
            raise ConfigError("train.balanced is True; allowed: False for segmentation, whose images hold many classes")
        if config.train.class_weights != "none" or config.train.focal:
            raise ConfigError(
                "train.class_weights and train.focal are for classifiers; leave them out for segmentation"
            )
        notes = [note_on_classes(self.train_set), describe_left_out(self.train_set.left_out)]
        self.notes = [note for note in notes if note]
        self.num_val = len(self.val_set.samples)
        self.fingerprint = fingerprint(relative_path(path, config.data) for path in self.train_paths)
        self.parts = {"val": self.val_set, "select": select_set}
        self.test_loaders = {name: self._test_loader(part) for name, part in self.parts.items() if part.samples}
        self.chosen_on: EvaluatedPart = "select" if select_set.samples else "val"
        self.num_chosen_on = len(self.parts[self.chosen_on].samples)

    def _test_loader(self, part: MaskSet) -> DataLoader:
        share = share_of(len(part.samples), rank=rank(), num_processes=world_size())
        images = TestMasks(part, self.config.input)
        return make_image_loader(images, workers=self.config.train.workers, share=share)

    def loader(self, batches: Sampler[list[int]]) -> DataLoader:
        settings = self.config.train
        crops = TrainingMasks(self.train_set, config=self.config.input, augment=settings.augment, seed=settings.seed)
        return make_crop_loader(crops, batches=batches, workers=settings.workers)

    def weight(self, batch: MaskBatch) -> float:
        return float((batch.masks != IGNORED).sum())

    def num_clips(self, batch: MaskBatch) -> int:
        return len(batch.indices)

    def loss(self, model: nn.Module, batch: MaskBatch, device: torch.device) -> Tensor:
        logits = model(batch.images.to(device)).float()
        losses = F.cross_entropy(logits, batch.masks.to(device), ignore_index=IGNORED, reduction="sum")
        # Not the mean: of a batch whose pixels are all ignored it would be NaN.
        return losses / (batch.masks != IGNORED).sum().clamp(min=1).to(device)

    def evaluate(
        self, model: nn.Module, progress: Callable[[int, int], None], *, part: EvaluatedPart = "val"
    ) -> Scores:
        execution = Execution(precision=self.config.train.precision, progress=progress)
        result = evaluate(model, self.test_loaders[part], self.parts[part], execution)
        figures = {"miou": result.mean_iou(), "pixel_accuracy": result.pixel_accuracy(), "loss": result.loss()}
        return Scores(figures, evaluated=result.num_images, broken=result.broken, evaluation=result)

    def summary(self) -> dict[str, Any]:
        return {}

    def answers(self) -> dict[str, Any]:
        return {}

    def put_answers(self, answers: Mapping[str, Any]) -> None:
        assert not answers, "outputs are answers as they are"

    def reason_for_nan(self) -> str:
        masks = self.config.masks
        return (
            f"no pixel of the {self.num_val} validation images has a class; --masks.ignore_index is "
            f"{masks.ignore_index} and --masks.reduce_zero_label {masks.reduce_zero_label}, and the values of the "
            f"classes are {describe_values(masks, len(self.classes))}: look at the annotations"
        )
