"""The defaults of `morphmlp train DIR`: what a person who gives no recipe and few options is best served with.

`choose` goes from facts to choices with a reason for each; it looks at nothing itself. The figures it goes by are
below: those of the recipes that were measured (`recipes/spoken_words.yaml`, `recipes/cifar10_small.yaml`), and of 226
clips of basketball players. What the user gave is never changed, and what depends on it follows it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from morphmlp.checkpoints.hub import CONFIG_FILE, local_checkpoint
from morphmlp.config import ModelConfig
from morphmlp.data.clips.flips import why_not_to_flip
from morphmlp.formatting import percent
from morphmlp.models.zoo import VARIANTS, model_config
from morphmlp.recipes import merged
from morphmlp.tasks.registry import task_of_kind
from morphmlp.training.set_facts import MachineFacts, SetFacts

LEAST_STEPS = 2_000  # of the optimizer: 30 epochs of 226 clips were 450, after which the loss had hardly come down
LEAST_STEPS_FROM_START = 1_000  # where `--init` gives weights
LEAST_EPOCHS, MOST_EPOCHS = 30, 500
WARMUP_SHARE = 0.08  # of the epochs
NUM_EVALUATIONS = 25
FEW = 500  # samples: up to here a batch is 16
MANY = 5_000  # samples: from here on changes are mild, and a batch of images is 64
LR_PER_SAMPLE = 5e-4 / 16  # of a batch, for nano
MOST_LR = 1e-3
SHORT_CLIP = 1.6  # times the median length: the most frames of a clip, or most of them would be shown twice
FRAMES = (16, 8, 4)
NEARLY_SQUARE = 1.2  # longer over shorter side: from here on, a square crop loses too much
RENDERED_START_UP_TO = 2_000  # videos; 0 never starts from the rendered ones
RENDERED = "rendered"  # the packaged start of nano
UNEQUAL = 5.0  # the largest class over the smallest: from here on classes are drawn equally often
# The epoch is chosen on a part held out of the training set where that part tells epochs apart (200 clips: a standard
# error of 0.035 at most), and where the rest is enough to learn from.
SELECT_FROM = 2_000  # samples
SELECT_FROM_PER_CLASS = 20
SELECT_FRACTION = 0.1
MOST_WORKERS = 8
_ABSENT = object()


@dataclass
class Choices:
    """What was chosen, as a recipe has it, and why, by topic; a line for each topic.

    Attributes:
        given: what the user gave, as a recipe has it.
    """

    given: Mapping[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, list[str]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the user gave a value, such as "input.crop"."""
        return _found(self.given, name) is not _ABSENT

    def choose(self, topic: str, reason: str = "", **values: Any) -> bool:
        """Takes those values that the user did not give; says why if it takes any. `input__crop` is "input.crop"."""
        taken = False
        for name, value in values.items():
            part, _, inner = name.rpartition("__")
            if not self.has(f"{part}.{inner}" if part else inner):
                self.values = merged(self.values, {part: {inner: value}} if part else {inner: value})
                taken = True
        if taken and reason:
            self.reasons.setdefault(topic, []).append(reason)
        return taken

    def get(self, name: str, default: Any) -> Any:
        """The value that the user gave, or the one chosen so far, or the usual one."""
        found = (_found(values, name) for values in (self.given, self.values))
        return next((value for value in found if value is not _ABSENT), default)

    @property
    def lines(self) -> tuple[str, ...]:
        """A line for each topic."""
        return tuple(f"{topic}: {'; '.join(reasons)}" for topic, reasons in self.reasons.items())


def choose(facts: SetFacts, machine: MachineFacts, given: Mapping[str, Any], *, start: str | None = None) -> Choices:
    """What serves a set best, for all that is not given.

    Args:
        given: values as a recipe has them.
        start: the packaged weights of nano that a training may start from; None where there are none.
    """
    choices = Choices(given)
    name = choices.get("model", None) or task_of_kind(facts.kind).default_models[facts.kind]
    model = model_config(name) if name in VARIANTS else None  # else `run_config` names what is wrong
    _choose_steps(choices, facts, model)
    if facts.kind != "mask" and model is not None and not choices.has("init"):
        _choose_clips(choices, facts, model)
    _choose_changes(choices, facts)
    _choose_weights(choices, facts, start)
    _choose_selection(choices, facts)
    _choose_execution(choices, machine)
    return choices


def _choose_steps(choices: Choices, facts: SetFacts, model: ModelConfig | None) -> None:
    """So many epochs that the optimizer takes enough steps, and evaluations that do not cost more than they tell."""
    small_model = model is not None and model.image_size <= 64
    choices.choose("steps", batch_size=_batch_size(facts) if small_model else 16)
    batch_size = max(int(choices.get("batch_size", 16)), 1)
    num_samples = facts.num_samples - num_selected(facts, choices)
    steps_per_epoch = math.ceil(num_samples / batch_size)
    least = LEAST_STEPS_FROM_START if choices.has("init") else LEAST_STEPS
    epochs = min(max(math.ceil(least / steps_per_epoch), LEAST_EPOCHS), MOST_EPOCHS)
    reason = f"{epochs} epochs of {steps_per_epoch} steps of {batch_size} {facts.unit}"
    if epochs > LEAST_EPOCHS:
        reason += f", as so few {facts.unit} need {min(least, epochs * steps_per_epoch):,} steps"
    choices.choose("steps", reason, epochs=epochs)
    epochs = choices.get("epochs", epochs)
    choices.choose("steps", warmup_epochs=round(WARMUP_SHARE * epochs, 1))
    every = max(epochs // NUM_EVALUATIONS, 1)
    choices.choose("steps", f"evaluated every {every} of them" if every > 1 else "", eval_every=every)
    if small_model and not choices.has("init"):
        lr = min(LR_PER_SAMPLE * batch_size, MOST_LR)
        choices.choose("steps", f"lr {lr:g}", lr=lr)
    decay = ema_decay(steps_per_epoch * epochs)
    choices.choose("steps", f"weights averaged with a decay of {decay:g}" if decay else "", ema=decay)


def _batch_size(facts: SetFacts) -> int:
    """Small batches for few samples, so that an epoch has some steps."""
    if facts.kind == "mask":
        return 8 if facts.num_samples < FEW else 16
    if facts.num_samples < FEW:
        return 16
    return 64 if facts.kind == "image" and facts.num_samples >= MANY else 32


def ema_decay(num_steps: int) -> float:
    """The decay with which about the last fifth of a run's steps is averaged; 0, no average, of very short runs.

    2,100 steps give 0.9976; the recipe of the spoken words has 0.998.
    """
    return 0.0 if num_steps < 100 else round(min(max(1 - 5 / num_steps, 0.98), 0.9999), 4)


def _choose_clips(choices: Choices, facts: SetFacts, model: ModelConfig) -> None:
    """How many frames a clip has, and what part of a picture."""
    if facts.kind == "video" and facts.num_frames is not None:
        shortest, median, longest = facts.num_frames
        frames = clip_frames(median, most=model.frames)
        choices.choose(
            "clips", f"{frames} frames, of videos of {shortest} to {longest}, in the median {median}", arch__frames=frames
        )
    if facts.size is None or any(choices.has(f"input.{name}") for name in ("crop", "fit", "resize", "decode_size")):
        return
    side = int(choices.get("arch.image_size", model.image_size))
    clip_size = _choose_shape(choices, facts, side)
    shrunk = min(facts.size) / min(clip_size)
    if facts.kind == "video":
        choices.choose("clips", "smoothed while shrunk" if shrunk > 1 else "", input__antialias=shrunk > 1)
        if shrunk >= 4:  # else decoding at a smaller size saves little
            scaled = 2 * min(clip_size)
            choices.choose("clips", f"decoded at {scaled} px, of {min(facts.size)}", input__decode_size=scaled)


def _choose_shape(choices: Choices, facts: SetFacts, side: int) -> tuple[int, int]:
    """The whole frame, where a square in its middle would lose much of it; returns the size of the clip."""
    assert facts.size is not None
    height, width = facts.size
    shown = f"the {facts.unit} have {height} x {width} px"
    if not facts.alike:
        choices.choose("clips", f"a square from the middle, as the {facts.unit} have different shapes")
        return side, side
    if max(height, width) / min(height, width) < NEARLY_SQUARE:
        return side, side
    size = clip_size(height, width, side=side)
    lost = percent(1 - min(height, width) / max(height, width), digits=0)
    reason = f"the whole frame as {size[0]} x {size[1]} px: {shown}, of which a square would lose {lost}"
    choices.choose("clips", reason, input__fit="stretch", input__crop=list(size))
    return size


def clip_frames(median: int, *, most: int) -> int:
    """Frames of a clip of videos of this median length: not so many that most of them are shown twice.

    >>> [clip_frames(length, most=16) for length in (3, 7, 10, 300)]
    [4, 8, 16, 16]
    """
    return next((frames for frames in FRAMES if frames <= min(SHORT_CLIP * median, most)), min(FRAMES[-1], most))


def clip_size(height: int, width: int, *, side: int) -> tuple[int, int]:
    """Height and width of a clip in the shape of the frame, of no more pixels than a square of `side`.

    Of the sizes in multiples of 16 px (of 32 for models of large pictures), the one with the least distortion, where
    half as many pixels weigh as much as a distortion by a sixth.

    >>> clip_size(90, 160, side=64), clip_size(64, 128, side=64), clip_size(1920, 1080, side=224)
    ((48, 80), (32, 64), (288, 160))
    """
    unit = 16 if side < 128 else 32
    sides = range(32, 4 * side + 1, unit)
    sizes = [(h, w) for h in sides for w in sides if h * w <= side * side] or [(32, 32)]

    def misfit(size: tuple[int, int]) -> tuple[float, int]:
        distortion = abs(math.log(size[1] / size[0] * height / width))
        return distortion + 0.25 * math.log(side * side / (size[0] * size[1])), size[0]

    return min(sizes, key=misfit)


def _choose_changes(choices: Choices, facts: SetFacts) -> None:
    """How strongly training clips are changed: the fewer there are, the more."""
    kept = why_not_to_flip(facts.classes) if facts.named else "the classes are only known by number"
    if facts.kind == "mask":
        kept = None
    reason = f"no flips: {kept}" if kept else "flips (if left and right matter: --augment.flip 0)"
    choices.choose("changes", reason, augment__flip=0.0 if kept else 0.5)
    if facts.kind == "mask":
        choices.choose("changes", augment__color=0.5)
        return
    few = facts.num_samples < MANY
    mixup, drop_path = (0.8, 0.2) if few else (0.2, 0.1)
    changes = {"augment__mixup": mixup, "augment__color": 0.4 if few else 0.3, "arch__drop_path": drop_path}
    strength = f"strong for {facts.num_samples:,} {facts.unit}" if few else f"mild for {facts.num_samples:,} {facts.unit}"
    if choices.choose("changes", **changes):
        shown = f"mixup {choices.get('augment.mixup', 0)}, stochastic depth {choices.get('arch.drop_path', 0)}"
        choices.reasons.setdefault("changes", []).append(f"{shown}: {strength}")
    counts = facts.class_counts
    if counts and max(counts) >= UNEQUAL * min(counts):
        reason = f"every class is drawn equally often, as they have {min(counts):,} to {max(counts):,} {facts.unit}"
        choices.choose("changes", reason, balanced=True)


def _choose_weights(choices: Choices, facts: SetFacts, start: str | None) -> None:
    """The packaged start, for few videos and the model that it is of."""
    other_shape = set(choices.given.get("arch") or {}) - {"frames", "drop_path", "gradient_checkpointing"}
    nano = choices.get("model", "morphmlp_video_nano") == "morphmlp_video_nano" and not other_shape
    if start and facts.kind == "video" and nano and facts.num_samples <= RENDERED_START_UP_TO and not choices.has("init"):
        reason = f"starts from rendered videos, as {facts.num_samples:,} are few (--init none starts fresh)"
        choices.choose("weights", reason, init=start, model="morphmlp_video_nano")


def num_selected(facts: SetFacts, choices: Choices) -> int:
    """How many samples a run holds out of its training part to choose the epoch on."""
    usual = SELECT_FRACTION if _has_enough_to_select(facts) and not choices.has("report") else 0.0
    return int(choices.get("select_fraction", usual) * facts.num_samples)


def _has_enough_to_select(facts: SetFacts) -> bool:
    return facts.num_samples >= SELECT_FROM and min(facts.class_counts, default=SELECT_FROM) >= SELECT_FROM_PER_CLASS


def _choose_selection(choices: Choices, facts: SetFacts) -> None:
    """Which epoch the run is for: the best one on a part of its own, or the last, for which none is looked at."""
    if choices.has("report") or choices.has("select_fraction"):
        return
    if _has_enough_to_select(facts):
        share = percent(SELECT_FRACTION, digits=0)
        reason = f"the best epoch on {share} of the training {facts.unit}, which are not trained on"
        choices.choose("selection", reason, select_fraction=SELECT_FRACTION, report="best")
    elif choices.has("patience"):
        reason = "the best epoch on the validation part, as --patience looks at it: its figure is a little too good"
        choices.choose("selection", reason, report="best")
    else:
        reason = f"the last epoch, as too few {facts.unit} to hold out some to choose by; the validation part chooses nothing"
        choices.choose("selection", reason, report="last")


def _choose_execution(choices: Choices, machine: MachineFacts) -> None:
    choices.choose("machine", precision="auto")
    workers = min(machine.num_cores // 2, MOST_WORKERS)
    cores = f"{machine.num_cores} processor {'core' if machine.num_cores == 1 else 'cores'}"
    choices.choose("machine", f"{workers} of {cores} decode" if workers else "", workers=workers)


def _found(values: Mapping[str, Any], name: str) -> Any:
    """The value of a name such as "input.crop", or `_ABSENT`."""
    value: Any = values
    for part in name.split("."):
        value = value.get(part, _ABSENT) if isinstance(value, Mapping) else _ABSENT
    return value




def packaged_start() -> str | None:
    """The name of nano's packaged weights; None where the package has none."""
    folder = local_checkpoint(RENDERED)
    return RENDERED if folder.is_absolute() and (folder / CONFIG_FILE).is_file() else None
