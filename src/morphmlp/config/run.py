"""A training run, and all that it depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from morphmlp.config.base import Config
from morphmlp.config.data import ListConfig, MaskConfig, SplitConfig
from morphmlp.config.inputs import AugmentConfig, InputConfig
from morphmlp.config.model import ModelConfig
from morphmlp.errors import ConfigError

# By accelerate's names; `training/trackers.py` has a way to start each.
Tracker = Literal["aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "tensorboard", "trackio", "wandb"]


@dataclass(frozen=True)
class TrainConfig(Config):
    """One training run.

    Attributes:
        epochs: passes over the training videos.
        batch_size: videos a step, over all processes; each gives `augment.repeats` clips.
        accumulate: parts that each process computes its share of a step in, one after the other, to save memory; the
            step is the same to rounding, but for batch normalisation, mixing and stochastic depth, which work on a part
            at a time.
        lr: peak learning rate of AdamW, for this batch size: it is not scaled by the number of processes.
        min_lr: learning rate at the end.
        warmup_lr: learning rate at the start; None for `min_lr`.
        warmup_epochs: linear warm-up from `warmup_lr`, then cosine to `min_lr`.
        cosine_from: where the cosine starts: at the end of the "warmup", or at the "start" of the run, as DeiT's does,
            so that the rate is a little lower when the warm-up ends.
        freeze: the stages that stay as they are in `init`, and the stem with them: 0 is the stem alone, 4 or "backbone"
            all but the last norm and the head; None trains everything. What is frozen stays in evaluation mode: its
            batch normalisation keeps the statistics of the start, and nothing in it is dropped at random.
        probe: freeze the backbone and fit the head alone: a linear classifier of the features of the start, each video
            looked at once (its mirror image too where `augment.flip` is above 0), in seconds instead of epochs.
        layer_decay: factor on the learning rate from each block to the one before it; 1 trains all alike.
        weight_decay: on matrices and kernels only.
        clip_grad: largest gradient norm; None does not clip.
        ema: decay of the averaged weights that are evaluated and saved; 0 uses the trained weights themselves.
        ema_aside: evaluate and save the trained weights, and the averaged ones as a third checkpoint, `averaged`.
        balanced: draw every class equally often.
        class_weights: what a class counts in the loss of a classifier: "none" counts all alike, "balanced" inversely to
            the number of its samples, and "effective" less so for the rarest, see `tasks/classification/losses.py`.
        focal: gamma of the focal loss of a classifier, which counts what it knows already less; 0 is the plain loss.
        sync_batchnorm: batch normalisation over the batches of all processes.
        fsdp: shard weights, gradients and optimizer state over the processes.
        max_broken: share of the training videos that may be unreadable before the run stops.
        max_damage: share of a video's packets that cannot be decoded from which on it is unreadable; None for 0.5, or
            what MORPHMLP_MAX_DAMAGE says.
        eval_every: epochs between two evaluations; the last epoch is always evaluated.
        report: the checkpoint that the run names at its end: the "best" on the validation part, or the "last". Recipes
            of the paper take the last, as the released code does: their validation part is the one published on.
        save_every: steps between two saves of the full state, beside the one at the end of each epoch; 0 for none.
        select_fraction: share of the training part that is held out of it to choose the best epoch on, which keeps the
            validation part for the figure at the end; 0 chooses on the validation part.
        patience: evaluations without a better one after which the run ends; None trains to the last epoch.
        precision: "fp32", or mixed with "bf16" or "fp16". "auto" is bf16 where the device computes it natively, else
            fp32; a run has one of these in its configuration.
        workers: processes that decode; 0 decodes in the training process.
        keep_frames_gb: memory of a machine, in GB of 10^9 bytes, for decoded frames that a classifier keeps from one
            epoch to the next; None for an eighth of what is free, at most 4, and 0 keeps none. Clips are the same.
        device: "auto" is the accelerator that PyTorch finds, else the CPU; of several, CUDA_VISIBLE_DEVICES names some.
        trackers: where figures are sent to beside the log, by the names that accelerate has for them.
        seed: of everything random.
    """

    epochs: int = 30
    batch_size: int = 16
    accumulate: int = 1
    lr: float = 5e-4
    min_lr: float = 1e-6
    warmup_lr: float | None = None
    warmup_epochs: float = 3.0
    cosine_from: Literal["warmup", "start"] = "warmup"
    freeze: int | Literal["backbone"] | None = None
    probe: bool = False
    layer_decay: float = 1.0
    weight_decay: float = 0.05
    clip_grad: float | None = 20.0
    ema: float = 0.0
    ema_aside: bool = False
    balanced: bool = False
    class_weights: Literal["none", "balanced", "effective"] = "none"
    focal: float = 0.0
    sync_batchnorm: bool = False
    fsdp: bool = False
    max_broken: float = 0.1
    max_damage: float | None = None
    eval_every: int = 1
    report: Literal["best", "last"] = "best"
    save_every: int = 0
    select_fraction: float = 0.0
    patience: int | None = None
    precision: Literal["fp32", "bf16", "fp16", "auto"] = "fp32"
    workers: int = 2
    keep_frames_gb: float | None = None
    device: Literal["auto", "cpu", "cuda", "mps", "xpu"] = "auto"
    trackers: tuple[Tracker, ...] = ()
    seed: int = 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def validate(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "eval_every"):
            self._require(getattr(self, name) > 0, name, "1 or more")
        for name in ("warmup_epochs", "weight_decay", "save_every", "workers", "seed"):
            self._require(getattr(self, name) >= 0, name, "0 or more")
        self._require_at_most(1_000_000, "epochs", "batch_size", "accumulate", "eval_every", "warmup_epochs")
        self._require_at_most(1_000_000, "weight_decay", "lr")
        self._require_at_most(2**62, "save_every", "seed")
        self._require_at_most(4_096, "workers")
        self._require(self.keep_frames_gb is None or self.keep_frames_gb >= 0, "keep_frames_gb", "0 or more, or None")
        self._require_at_most(1_000_000, "keep_frames_gb")
        self._require(self.lr > 0, "lr", "above 0")
        self._require(0 <= self.min_lr <= self.lr, "min_lr", f"0 to lr ({self.lr})")
        self._require(self.warmup_lr is None or 0 <= self.warmup_lr <= self.lr, "warmup_lr", f"0 to lr ({self.lr})")
        self._require(self.freeze in (None, "backbone", 0, 1, 2, 3, 4), "freeze", "0 to 4 stages, or 'backbone'")
        self._require(not self.probe or self.freeze in (None, "backbone", 4), "freeze", "'backbone' with probe")
        self._require(0 < self.layer_decay <= 1, "layer_decay", "above 0, at most 1")
        self._require(self.clip_grad is None or self.clip_grad > 0, "clip_grad", "above 0, or None")
        self._require(0 <= self.focal <= 10, "focal", "0 to 10")
        self._require(0 <= self.ema < 1, "ema", "0 <= decay < 1")
        self._require(self.ema > 0 or not self.ema_aside, "ema_aside", "False where ema is 0")
        self._require(0 <= self.select_fraction <= 0.5, "select_fraction", "0 to 0.5")
        self._require(self.patience is None or self.patience > 0, "patience", "1 or more, or None")
        self._require(0 <= self.max_broken <= 1, "max_broken", "0 to 1")
        self._require(self.max_damage is None or 0 < self.max_damage <= 1, "max_damage", "above 0, up to 1, or None")
        if self.fsdp:
            self._require(self.ema == 0, "ema", "0 with fsdp")
            self._require(self.precision != "fp16", "precision", "'fp32' or 'bf16' with fsdp")


# The fields of `RunConfig` that say how data is read and split; a task names the one that it reads by.
READINGS: dict[str, type[Config]] = {"split": SplitConfig, "lists": ListConfig, "masks": MaskConfig}


@dataclass(frozen=True)
class RunConfig(Config):
    """All that a training run depends on; it is in the run folder as `config.json`.

    Attributes:
        data: the folder or lists that were trained on.
        init: the checkpoint that the weights started from; None for fresh weights.
        chosen: what `morphmlp train` chose for the data and why, a line for each topic; empty where it chose nothing.
    """

    data: str
    model: ModelConfig
    input: InputConfig
    train: TrainConfig = field(default_factory=TrainConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    lists: ListConfig = field(default_factory=ListConfig)
    masks: MaskConfig = field(default_factory=MaskConfig)
    init: str | None = None
    chosen: tuple[str, ...] = ()

    def validate(self) -> None:
        segmentation = self.model.task == "segmentation"
        if segmentation != (self.input.fit == "whole"):
            allowed = "'whole' for segmentation" if segmentation else "'crop' or 'stretch' for classification"
            raise ConfigError(f"input.fit is {self.input.fit!r}; allowed: {allowed}")
        if segmentation and self.split.folds is not None:
            raise ConfigError(f"split.folds is {self.split.folds}; allowed: None for segmentation")
        if segmentation and min(self.input.crop) < 64:
            # Of a batch of one, a last map of one token would leave batch normalisation a single value.
            raise ConfigError(f"input.crop is {self.input.crop}; allowed: 64 px or more for segmentation")
        if self.init is None and (self.train.probe or self.train.freeze is not None):
            name = "probe" if self.train.probe else "freeze"
            raise ConfigError(
                f"train.{name} is {getattr(self.train, name)!r}, but there are no weights to start from, and what is "
                f"frozen would stay random; give --init CHECKPOINT (nano has one in the package: --init rendered), or "
                f"leave out --{name}"
            )
        if not self.model.temporal and self.input.num_clips > 1:
            raise ConfigError(f"input.num_clips is {self.input.num_clips}; allowed: 1 for images")
