"""Which samples of a data set a checkpoint is evaluated on, with their labels as numbers of its outputs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphmlp.checkpoints.info import CheckpointInfo
from morphmlp.config import ListConfig, SplitConfig
from morphmlp.data.media.remote import place_of
from morphmlp.data.sets.labelled import LabelledSet, joined_notes
from morphmlp.data.sets.matching import are_numbers, described, find, positions
from morphmlp.data.sets.read import evaluation_split, read_set, read_training_sets
from morphmlp.data.sets.splits import evaluated_part
from morphmlp.data.sets.written import SEPARATOR
from morphmlp.errors import ConfigError, DataError
from morphmlp.inference.runtimes import Runtime
from morphmlp.tasks.classification.prediction import model_kind

if TYPE_CHECKING:
    from morphmlp.models.morphmlp import MorphMLP


def labelled_samples(
    data: str | Path,
    split: str | None,
    lists: dict[str, Any],
    model: "MorphMLP | Runtime",
    info: CheckpointInfo,
    checkpoint: str | Path,
) -> LabelledSet:
    """The part of the data that `split` names, its labels as numbers of the model's outputs.

    Raises:
        DataError: it is of another kind than the model's, or has other classes.
    """
    multi_label = model.config.multi_label
    _require_sort(lists.get("multi_label"), checkpoint, multi_label=multi_label)
    labelled = _read_part(data, split, lists, info, multi_label=multi_label)
    if multi_label:
        if not lists.get("multi_label") and info.training.get("data") != place_of(data):
            _refuse_single_labels(labelled, data=data, checkpoint=checkpoint)
    else:
        _refuse_joined_labels(labelled, info.labels, data=data, checkpoint=checkpoint)
    if labelled.kind != model_kind(model):
        raise DataError(
            f"{data} holds {labelled.unit}, but {checkpoint} is a model of {model_kind(model)}s ({model.config.name}); "
            f"give a folder of {model_kind(model)}s, or a checkpoint for {labelled.unit}"
        )
    if info.labels:
        advice = "; leave out what the model does not know, or name it as the model does"
        return labelled.relabelled(info.labels, source=str(checkpoint), advice=advice)
    return _without_names(labelled, model.config.num_classes, data=data, checkpoint=checkpoint)


def _read_part(
    data: str | Path, split: str | None, lists: dict[str, Any], info: CheckpointInfo, *, multi_label: bool
) -> LabelledSet:
    """The part of the data that `split` names; one that was drawn when the checkpoint was trained is drawn again.

    Of other data than the training's, numbers still count from where the training's did, unless `lists` says otherwise.
    """
    trained_on = info.training.get("data") == place_of(data)
    trained = info.training.get("lists") or {}
    known = trained if trained_on else {name: trained[name] for name in ("first_label",) if name in trained}
    reading = ListConfig.from_dict(known | {"window": info.input.window_s} | lists | {"multi_label": multi_label})

    def draw() -> tuple[LabelledSet, LabelledSet]:
        return read_training_sets(data, SplitConfig.from_dict(info.training["split"]), reading)

    def read(part: str | None) -> LabelledSet:
        if trained_on and reading.background and part in ("train", "val"):
            return draw()[part == "val"]  # with the clips of background that the training had
        return read_set(data, split=part, lists=reading)

    of_fold = trained_on and (info.training.get("split") or {}).get("fold")  # the parts on the disk are others
    present = None if of_fold else evaluation_split(data, reading)
    part = evaluated_part(split, present=present, trained_on=trained_on, draw=draw, read=read)
    is_val = split == "val" or (split is None and present != "test")
    if trained_on and is_val and _is_chosen_on_val(info, part.unit):
        note = f"the epoch of this checkpoint was chosen on these {part.unit}, so the figures are a little too good"
        part = replace(part, note=joined_notes(part.note, note))
    return part


def _is_chosen_on_val(info: CheckpointInfo, unit: str) -> bool:
    """Whether a checkpoint is the best epoch of a run by the validation part, or one that `patience` ended by it.

    The figures in its summary, and the epochs, say so.
    """
    training, settings = info.training, info.training.get("settings") or {}
    if settings.get("probe"):  # which has no epochs
        return False
    has_patience = settings.get("patience") and not settings.get("select_fraction")
    if has_patience and training.get("epochs", 0) < settings.get("epochs", 0):
        return True
    return f"val_{unit}" in training and f"select_{unit}" not in training


def _require_sort(asked: bool | None, checkpoint: str | Path, *, multi_label: bool) -> None:
    """Raises ConfigError where the list is called the other sort than the checkpoint is."""
    if asked is not None and asked != multi_label:
        names = "gives any number of classes" if multi_label else "names one class"
        raise ConfigError(
            f"--lists.multi_label is {asked}, but {checkpoint} {names} for each video or image; leave it out, or give "
            f"a checkpoint that was trained on {'one label' if multi_label else 'several labels'} a row"
        )


def _refuse_single_labels(labelled: LabelledSet, *, data: str | Path, checkpoint: str | Path) -> None:
    """A list of one label each counts all other classes as absent: whoever knows that they are has to say it."""
    if all(len(sample.classes) == 1 for sample in labelled.samples):
        raise DataError(
            f"{data} has one label for each {labelled.kind}, but {checkpoint} is a multi-label classifier, which "
            "is wrong wherever it finds a class that is not listed; give --lists.multi_label true if all are listed"
        )


def _refuse_joined_labels(
    labelled: LabelledSet, classes: Sequence[str], *, data: str | Path, checkpoint: str | Path
) -> None:
    """Raises DataError where labels are several of the checkpoint's classes in one."""
    position = positions(classes)
    for name in labelled.classes if position else ():
        parts = [part.strip() for part in name.split(SEPARATOR)]
        if find(name, position) is None and len(parts) > 1 and all(find(part, position) is not None for part in parts):
            raise DataError(
                f"{data} has several labels a row, such as {name!r}, but {checkpoint} names one class for each of the "
                f"{labelled.unit}; evaluate a multi-label classifier on it, or a list of one label each"
            )


def _without_names(labelled: LabelledSet, num_outputs: int, *, data: str | Path, checkpoint: str | Path) -> LabelledSet:
    """The samples for a model whose classes have no names: numbers are its outputs, names are taken in their order."""
    if are_numbers(labelled.classes):
        return labelled.relabelled([str(i) for i in range(num_outputs)], source=str(checkpoint))
    if len(labelled.classes) != num_outputs:
        raise DataError(
            f"{data} has {len(labelled.classes)} classes, but {checkpoint} has {num_outputs} outputs and "
            "no class names; convert it with --labels"
        )
    matching = described(range(num_outputs), labelled.classes)
    return replace(labelled, note=f"the checkpoint has no class names; its outputs are taken in order: {matching}")
