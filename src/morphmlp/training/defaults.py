"""The defaults of `morphmlp train DIR`: what a person who gives no recipe and few options is best served with.

`choose` goes from facts to choices with a reason for each; it looks at nothing itself. The figures it goes by are
below: those of the recipes that were measured (`recipes/spoken_words.yaml`, `recipes/cifar10_small.yaml`), and of 226
clips of basketball players. What the user gave is never changed, and what depends on it follows it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from morphmlp.checkpoints.starts import is_start, start_of
from morphmlp.config import ModelConfig
from morphmlp.data.clips.flips import why_not_mirrored
from morphmlp.data.clips.pace import why_not_warped
from morphmlp.formatting import counted, percent
from morphmlp.models.zoo import VARIANTS, model_config
from morphmlp.recipes import merged
from morphmlp.tasks.registry import task_of_kind
from morphmlp.training.set_facts import MachineFacts, SetFacts

# Of the optimizer, by the kind of data. 30 epochs of 226 clips were 450, after which the loss had hardly come down.
# 1,100 spoken words were 71.0 % right after 2,000, and 75.5 % after 4,000. Of fewer clips it is not known: 57 held-out
# players of 226 cannot tell the two apart.
LEAST_STEPS = {"video": 4_000, "image": 2_000, "mask": 2_000}
LEAST_STEPS_FROM_START = 1_000  # where `--init` gives weights
LEAST_EPOCHS, MOST_EPOCHS = 30, 500
WARMUP_SHARE = 0.08  # of the epochs
NUM_EVALUATIONS = 25
FEW = 500  # samples: below that a batch is 16
MANY = 5_000  # images: from here on a batch is 64
LR_PER_SAMPLE = 5e-4 / 16  # of a batch, for nano
LEAST_LR, MOST_LR = 5e-4, 1e-3
SHORT_CLIP = 1.6  # times the median length: the most frames of a clip, or most of them would be shown twice
FRAMES = (16, 8, 4)
# Random changes by how often each sample is seen; what is seen less often is changed as it always was.
STRENGTHS: dict[int, tuple[str, dict[str, float]]] = {
    40: ("strong", {"augment.mixup": 0.8, "augment.color": 0.4, "arch.drop_path": 0.2}),
    20: ("mild", {"augment.mixup": 0.2, "augment.color": 0.3, "arch.drop_path": 0.1}),
}
# Of videos that are changed strongly. Of ten spoken words, learnt from ten clips each, 48.8 % of strangers' were right
# without the two, and 66.0 % with them.
TURN, TIME_WARP = 15, 0.5  # degrees, and a strength
# Times the frames of a clip: from this median on clips are not warped. A random frame of each of their segments varies
# them by itself, and gestures of 76 frames were no better for more: 35 of 44 right, 38 without.
LONG = 2
SHAPE = ("crop", "fit", "resize", "decode_size", "num_crops")  # fields of the input that are chosen together or not
LOST_BY_SQUARE = 0.15  # share of a frame: from here on all of it is shown
LARGE = 4  # times the clip's shorter side: from here on frames are scaled while they are decoded
NANO = "morphmlp_video_nano"
FRESH = "none"  # of `init`: no start, also where a recipe or `--tune` names one
UNEQUAL = 5.0  # the largest class over the smallest: from here on classes are drawn equally often
# The epoch is chosen on a part held out of the training set where that part tells epochs apart (200 clips: a standard
# error of 0.035 at most), and where the rest is enough to learn from.
SELECT_FROM = 2_000  # samples
SELECT_FROM_PER_CLASS = 20
SELECT_FRACTION = 0.1
MOST_WORKERS = 8
HEADER = "chosen by what is in the data (docs/defaults.md; --defaults fixed leaves it out):"
NUMBERS = "classes that are numbers do not tell what they are"
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

    @property
    def is_probe(self) -> bool:
        """Whether only the head is fitted, without steps."""
        return bool(self.given.get("probe"))

    @property
    def starts_from_given(self) -> bool:
        """Whether the user gave weights to start from."""
        return self.given.get("init", FRESH) != FRESH

    def has(self, name: str) -> bool:
        """Whether the user gave a value, such as "input.crop"."""
        return _found(self.given, name) is not _ABSENT

    def choose(self, topic: str, values: Mapping[str, Any], reason: str = "") -> None:
        """Takes those values that the user did not give, by names such as "input.crop"; says why if it takes any."""
        taken = {name: value for name, value in values.items() if not self.has(name)}
        for name, value in taken.items():
            part, _, inner = name.rpartition(".")
            self.values = merged(self.values, {part: {inner: value}} if part else {inner: value})
        if taken and reason:
            self.reasons.setdefault(topic, []).append(reason)

    def get(self, name: str, default: Any) -> Any:
        """The value that the user gave, or the one chosen so far, or the usual one."""
        found = (_found(values, name) for values in (self.given, self.values))
        return next((value for value in found if value is not _ABSENT), default)

    @property
    def lines(self) -> tuple[str, ...]:
        """A line for each topic, after one that says what they are."""
        lines = tuple(f"  {topic}: {'; '.join(reasons)}" for topic, reasons in self.reasons.items())
        return (HEADER, *lines) if lines else ()


def choose(facts: SetFacts, machine: MachineFacts, given: Mapping[str, Any]) -> Choices:
    """What serves a set best, for all that is not given.

    Args:
        given: values as a recipe has them.
    """
    choices = Choices(given)
    name = choices.get("model", None) or task_of_kind(facts.kind).default_models[facts.kind]
    model = model_config(name) if name in VARIANTS else None  # else `run_config` names what is wrong
    if not choices.is_probe:
        _choose_steps(choices, facts, model)
    if facts.kind != "mask" and model is not None and not choices.starts_from_given:
        _choose_clips(choices, facts, model)
    _choose_changes(choices, facts)
    _choose_selection(choices, facts)
    _choose_execution(choices, machine)
    return choices


def _choose_steps(choices: Choices, facts: SetFacts, model: ModelConfig | None) -> None:
    """So many epochs that the optimizer takes enough steps, and evaluations that do not cost more than they tell."""
    is_nano = model is not None and model.image_size <= 64
    choices.choose("steps", {"batch_size": _batch_size(facts) if is_nano else 16})
    batch_size = max(int(choices.get("batch_size", 16)), 1)
    steps = max(math.ceil((facts.num_samples - num_selected(facts, choices)) / batch_size), 1)
    least = LEAST_STEPS_FROM_START if choices.starts_from_given else LEAST_STEPS[facts.kind]
    epochs = min(max(math.ceil(least / steps), LEAST_EPOCHS), MOST_EPOCHS)
    reason = f"{counted(epochs, 'epoch')} of {counted(steps, 'step')} of {batch_size} {facts.unit}"
    if epochs > LEAST_EPOCHS:
        reason += f", as few {facts.unit} need as many steps as more do"
    choices.choose("steps", {"epochs": epochs}, reason)
    epochs = int(choices.get("epochs", epochs))
    choices.choose("steps", {"warmup_epochs": round(WARMUP_SHARE * epochs, 1)})
    every = max(epochs // NUM_EVALUATIONS, 1)
    choices.choose("steps", {"eval_every": every}, f"evaluated every {every} epochs" if every > 1 else "")
    if is_nano and not choices.starts_from_given:
        lr = MOST_LR if facts.kind == "mask" else min(max(LR_PER_SAMPLE * batch_size, LEAST_LR), MOST_LR)
        choices.choose("steps", {"lr": lr}, f"lr {lr:g}")
    decay = 0.0 if choices.get("fsdp", False) else ema_decay(steps * epochs)  # sharded weights have no average
    choices.choose("steps", {"ema": decay}, f"weights averaged with a decay of {decay:g}" if decay else "")


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
        lengths = f"{shortest} to {longest} (median {median})" if shortest < longest else str(median)
        reason = f"{frames} frames, as the videos have {lengths}"
        choices.choose("clips", {"arch.frames": frames}, reason)
    side = choices.get("arch.image_size", model.image_size)
    if facts.size is None or any(choices.has(f"input.{name}") for name in SHAPE) or not isinstance(side, int):
        return
    size = _choose_shape(choices, facts, side=max(side, 32))
    shrunk = min(facts.size) / min(size)
    if facts.kind == "video" and shrunk > 1:
        choices.choose("clips", {"input.antialias": True}, "smoothed while shrunk")
    if facts.kind == "video" and shrunk >= LARGE:
        scaled = 2 * min(size)
        reason = f"decoded at {scaled} px, as they have {min(facts.size)}"
        choices.choose("clips", {"input.decode_size": scaled}, reason)


def _choose_shape(choices: Choices, facts: SetFacts, *, side: int) -> tuple[int, int]:
    """The whole frame, where a square in its middle would lose much of it; returns the size of the clip in px."""
    assert facts.size is not None
    height, width = facts.size
    lost = 1 - min(facts.size) / max(facts.size)
    if lost < LOST_BY_SQUARE:
        return side, side
    if not facts.alike:
        choices.reasons.setdefault("clips", []).append(f"a square from the middle, as shapes of {facts.unit} differ")
        return side, side
    size = clip_size(height, width, side=side)
    reason = (
        f"the whole frame at {size[0]} x {size[1]} px, as a square would lose {percent(lost, digits=0)} of "
        f"{height} x {width}"
    )
    choices.choose("clips", {"input.fit": "stretch", "input.crop": list(size)}, reason)
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
    kept = None if facts.kind == "mask" else why_not_to_flip(facts)
    reason = f"no flips, as {kept}" if kept else "flips (--augment.flip 0 if left and right matter)"
    choices.choose("changes", {"augment.flip": 0.0 if kept else 0.5}, reason)
    if facts.kind == "mask":  # its crops are scaled by 0.5 to 2, which is strong by itself
        choices.choose("changes", {"augment.color": 0.5})
        return
    if choices.is_probe:  # which has mirror images, and no other changes
        return
    passes = int(choices.get("epochs", LEAST_EPOCHS))
    least = next((least for least in STRENGTHS if passes >= least), None)
    if least is not None:
        strength, values = STRENGTHS[least]
        kept = _why_pace_is_kept(choices, facts)
        if facts.kind == "video" and strength == "strong":
            values = values | {"augment.rotate": TURN, "augment.time_warp": 0.0 if kept else TIME_WARP}
        shown = _describe_changes({name: choices.get(name, value) for name, value in values.items()}, kept)
        reason = f"{strength} ones ({shown}), as each of the {facts.unit} is seen {passes} times"
        choices.choose("changes", values, reason)
    counts = facts.class_counts
    weighed = choices.get("class_weights", "none") != "none"  # both would make the rare classes the commonest
    if counts and not facts.multi_label and not weighed and max(counts) >= UNEQUAL * min(counts):
        reason = f"every class drawn equally often, as they have {min(counts):,} to {max(counts):,} {facts.unit}"
        choices.choose("changes", {"balanced": True}, reason)


def _why_pace_is_kept(choices: Choices, facts: SetFacts) -> str | None:
    """Why clips are shown at their own pace; None where they are not, or the user has said so."""
    if choices.has("augment.time_warp"):
        return None
    if choices.get("lists.window", None) is not None:
        return "the middle of a window is what is named"
    if choices.get("input.sampling", "sparse") == "sparse":
        median = facts.num_frames[1] if facts.num_frames is not None else None
        frames = choices.get("arch.frames", FRAMES[0])
        if median is None or not isinstance(frames, int) or median >= LONG * frames:
            return "other frames are drawn each time" + (f" from {median}" if median is not None else "")
    return why_not_warped(facts.classes) if facts.named else NUMBERS


def _describe_changes(values: Mapping[str, Any], kept_pace: str | None) -> str:
    parts = [f"mixup {values['augment.mixup']}", f"stochastic depth {values['arch.drop_path']}"]
    if values.get("augment.rotate"):
        parts.append(f"turned by up to {values['augment.rotate']} degrees")
    if values.get("augment.time_warp"):
        parts.append("at other paces")
    elif "augment.time_warp" in values and kept_pace:
        parts.append(f"at their own pace, as {kept_pace}")
    return ", ".join(parts)


def why_not_to_flip(facts: SetFacts) -> str | None:
    """Why clips are not flipped; None where they are."""
    return why_not_mirrored(facts.classes) if facts.named else NUMBERS


def num_selected(facts: SetFacts, choices: Choices) -> int:
    """How many samples a run holds out of its training part to choose the epoch on."""
    usual = SELECT_FRACTION if _has_enough_to_select(facts) and not choices.has("report") else 0.0
    return int(choices.get("select_fraction", usual) * facts.num_samples)


def _has_enough_to_select(facts: SetFacts) -> bool:
    return facts.num_samples >= SELECT_FROM and min(facts.class_counts, default=SELECT_FROM) >= SELECT_FROM_PER_CLASS


def _choose_selection(choices: Choices, facts: SetFacts) -> None:
    """Which epoch the run is for: the best one on a part of its own, or the last, for which none is looked at."""
    if choices.has("report") or choices.get("select_fraction", 0.0) > 0:
        return
    if _has_enough_to_select(facts) and not choices.has("select_fraction"):
        share = percent(SELECT_FRACTION, digits=0)
        reason = f"the best epoch on {share} of the training {facts.unit}, which are not trained on"
        choices.choose("selection", {"select_fraction": SELECT_FRACTION, "report": "best"}, reason)
    elif choices.has("patience"):
        reason = "the best epoch on the validation part, whose figure is then a little too good"
        choices.choose("selection", {"report": "best"}, reason)
    else:
        why = "none are held out" if choices.has("select_fraction") else f"too few {facts.unit} to hold some out"
        reason = f"the last epoch: {why} to choose by, and the validation part must not"
        choices.choose("selection", {"report": "last"}, reason)


def _choose_execution(choices: Choices, machine: MachineFacts) -> None:
    """What the machine computes fastest, and how many processes decode beside that."""
    choices.choose("machine", {"precision": "auto"})
    choices.choose("machine", {"workers": min(machine.num_cores // 2, MOST_WORKERS)})


def _found(values: Mapping[str, Any], name: str) -> Any:
    """The value of a name such as "input.crop", or `_ABSENT`."""
    value: Any = values
    for part in name.split("."):
        value = value.get(part, _ABSENT) if isinstance(value, Mapping) else _ABSENT
    return value


def packaged_start() -> str | None:
    """The name of nano's packaged weights; None where the package has none, or the name is that of a folder here."""
    name = start_of(NANO)
    return name if name is not None and is_start(name) else None
