"""Which part of a model a run trains: `--freeze` keeps the first stages as they are in the checkpoint to start from."""

from typing import Literal

from torch import nn

from morphmlp.models.morphmlp import MorphMLP


def freeze(model: MorphMLP, part: int | Literal["backbone"] | None) -> None:
    """Freezes the stem and the first stages of a model, as `TrainConfig.freeze` names them."""
    if part is not None:
        model.freeze(len(model.stages) if part == "backbone" else part)


def describe_parameters(model: nn.Module) -> str:
    """How many parameters there are, and how many of them are trained where that is not all.

    >>> model = nn.Sequential(nn.Linear(1000, 1000), nn.Linear(1000, 5))
    >>> describe_parameters(model)
    '1.01 M parameters'
    >>> _ = model[0].requires_grad_(False)
    >>> describe_parameters(model)
    '1.01 M parameters (5,005 of them trained, the others frozen)'
    """
    count = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    others = "" if trained == count else f" ({trained:,} of them trained, the others frozen)"
    return f"{count / 1e6:.2f} M parameters{others}"
