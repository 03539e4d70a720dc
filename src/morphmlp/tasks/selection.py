"""The part of a training set that the best epoch is chosen on: the validation part stays unseen until the end."""

from collections.abc import Sequence
from typing import Any, TypeVar

from morphmlp.config import RunConfig
from morphmlp.data.sets.splits import groups_of, hold_out, without_and_with
from morphmlp.errors import ConfigError

AnySet = TypeVar("AnySet", bound=Any)  # a dataclass with `samples` that have a `path`


def held_out_to_select(
    train: AnySet, labels: Sequence[int | Sequence[int]], config: RunConfig
) -> tuple[AnySet, AnySet]:
    """What is trained on, and what the epoch is chosen on: whole groups, such as recordings, and of every class alike.

    Args:
        labels: of the samples, one or several each; all alike where samples have none.

    Raises:
        ConfigError: nothing can be held out, as each group holds all that there is of some class.
    """
    fraction = config.train.select_fraction
    if not fraction:
        return train, without_and_with(train, set())[1]
    groups = groups_of(train.samples, config.split)
    held_out = hold_out(labels, groups, fraction=fraction, seed=config.split.seed)
    if not held_out:
        raise ConfigError(
            f"train.select_fraction is {fraction}, but nothing can be held out of the training part: each of its "
            f"{len(set(groups))} {what_is_held_out(groups, train.unit)} has a class that no other has; give "
            f"--select_fraction 0, or add {train.unit}"
        )
    return without_and_with(train, {train.samples[i].path for i in held_out})


def what_is_held_out(groups: Sequence[str], unit: str) -> str:
    """What messages call the groups: the samples themselves where each is a group of its own."""
    return unit if len(set(groups)) == len(groups) else "groups"
