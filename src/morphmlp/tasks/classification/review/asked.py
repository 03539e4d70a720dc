"""The review that `evaluate` asks for: which part of the data was trained on, and what is known of groups and folds."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from morphmlp.checkpoints.info import CheckpointInfo, load_config
from morphmlp.config import SplitConfig
from morphmlp.data.media.remote import remote_file
from morphmlp.data.sets.labelled import LabelledSet
from morphmlp.data.sets.splits import require_pattern
from morphmlp.errors import DataError, UserError
from morphmlp.formatting import one_line
from morphmlp.inference.device import Execution
from morphmlp.tasks.classification.evaluation import Evaluation
from morphmlp.tasks.classification.review.review import review_of
from morphmlp.tasks.classification.samples import labelled_samples


def reviewed(
    evaluation: Evaluation,
    checkpoint: str | Path,
    data: str | Path,
    *,
    split: str | None,
    options: Mapping[str, Any],
    execution: Execution,
) -> Evaluation:
    """The evaluation with its review.

    Args:
        options: `baseline`, `group_pattern`, `out_of_fold`, `lists` and `shuffle_frames` of the command line.

    Raises:
        DataError: there are no out-of-fold predictions in the folder.
    """
    info = load_config(checkpoint)[1]
    groups = _grouping(info, options.get("group_pattern"))
    out_of_fold = _out_of_fold(options.get("out_of_fold"), evaluation.unit)
    train, why_alone = _training_part(evaluation, checkpoint, data, split, options)
    pixels, why_none = _pixels(options.get("baseline"), data)
    review = review_of(
        evaluation,
        checkpoint=str(checkpoint),
        data=str(data),
        split=groups,
        train=train,
        why_alone=why_alone or why_none,
        pixels=pixels,
        out_of_fold=out_of_fold,
        may_have_seen=split in ("train", "all"),
        workers=execution.workers,
        progress=execution.progress,
    )
    return replace(evaluation, review=review)


def require_usable(options: Mapping[str, Any]) -> None:
    """Raises DataError where an option cannot be used on any data: hours of evaluation are not to come before that."""
    if pattern := options.get("group_pattern"):
        require_pattern(pattern)
    _out_of_fold(options.get("out_of_fold"), "videos")


def _grouping(info: CheckpointInfo, pattern: str | None) -> SplitConfig:
    known = (info.training.get("split") or {}).get("group_pattern")
    return SplitConfig(group_pattern=pattern or known)


def _pixels(asked: bool | None, data: str | Path) -> tuple[bool, str]:
    """Whether to decode the training part, and why not; "" where it is."""
    if asked is None and remote_file(data):
        return False, "the data is at an address; --baseline true fetches the training part"
    return (False, "left out, as --baseline false asks") if asked is False else (True, "")


def _training_part(
    evaluation: Evaluation, checkpoint: str | Path, data: str | Path, split: str | None, options: Mapping[str, Any]
) -> tuple[LabelledSet | None, str]:
    """The training part of the data, and why there is none to compare with; "" where there is one."""
    if options.get("shuffle_frames"):
        return None, "the frames were shuffled"
    if split in ("train", "all"):
        return None, f"what was evaluated, the part {split!r}, is what they would learn from"
    config, info = load_config(checkpoint)
    model: Any = SimpleNamespace(config=config)  # all that is asked of it
    try:
        train = labelled_samples(data, "train", options.get("lists") or {}, model, info, checkpoint)
    except UserError as error:
        return None, f"there is no training part to learn from ({one_line(error)})"
    evaluated = {prediction.path for prediction in evaluation.predictions}
    if any(sample.path in evaluated for sample in train.samples):
        return None, f"{data} has no part beside the one that was evaluated"
    return train, ""


def _out_of_fold(folder: str | None, unit: str) -> tuple[str, Evaluation] | None:
    if folder is None:
        return None
    from morphmlp.tasks.classification.out_of_fold import read_out_of_fold

    found = read_out_of_fold(folder, unit=unit).evaluation
    if not found.predictions:
        raise DataError(f"{folder} has no out-of-fold predictions; give the folder of a finished `train --folds`")
    return folder, found
