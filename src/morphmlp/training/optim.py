"""Parameter groups and the learning rate of the published recipes."""

import math
import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from torch import nn
from torch.nn import Parameter
from torch.optim import AdamW

from morphmlp.config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> AdamW:
    """AdamW; no weight decay on biases, normalisation and other 1-D parameters.

    Each group has an `lr_scale`, which is 1 unless `config.layer_decay` says otherwise.
    """
    depths = _depths(model) if config.layer_decay < 1 else {}
    deepest = max(depths.values(), default=0)

    def key(named: tuple[str, Parameter]) -> tuple[float, bool]:
        name, parameter = named
        return config.layer_decay ** (deepest - depths.get(name, deepest)), parameter.dim() <= 1

    groups: list[dict[str, Any]] = []
    for (lr_scale, undecayed), members in groupby(sorted(_trained(model), key=key), key=key):
        parameters = [parameter for _, parameter in members]
        weight_decay = 0.0 if undecayed else config.weight_decay
        groups.append({"params": parameters, "weight_decay": weight_decay, "lr_scale": lr_scale})
    # Fused: one pass over all weights, on a CPU too. Not in fp16: there accelerate must see whether the scaler has
    # called the step or skipped it.
    return AdamW(groups, lr=config.lr, eps=1e-8, fused=config.precision != "fp16" or None)


def _trained(model: nn.Module) -> Iterable[tuple[str, Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def _depths(model: nn.Module) -> dict[str, int]:
    """How many blocks come before each parameter: 0 for the stem, 3 for the downsampling after three blocks."""
    names = [name for name, _ in model.named_parameters()]
    blocks = sorted({(int(m[1]), int(m[2])) for name in names if (m := re.match(r"stages\.(\d+)\.(\d+)\.", name))})
    number = {block: i + 1 for i, block in enumerate(blocks)}
    depths = {}
    for name in names:
        if block := re.match(r"stages\.(\d+)\.(\d+)\.", name):
            depths[name] = number[int(block[1]), int(block[2])]
        elif downsample := re.match(r"downsamples\.(\d+)\.", name):
            depths[name] = number[int(downsample[1]) + 1, 0] - 1
        else:
            depths[name] = 0 if name.startswith("stem.") else len(blocks) + 1
    return depths


def set_lr(optimizer: Any, lr: float) -> None:
    """Sets the learning rate of every group, by its scale."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def lr_at(step: int, config: TrainConfig, *, steps_per_epoch: int) -> float:
    """Learning rate of a step, from 0: linear warm-up from `warmup_lr` (or `min_lr`), then cosine to `min_lr`.

    The cosine starts at `lr` after the warm-up; or, with `cosine_from` "start", at step 0, so that the warm-up covers
    its first part.
    """
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    total_steps = config.epochs * steps_per_epoch
    if step < warmup_steps:
        start = config.min_lr if config.warmup_lr is None else config.warmup_lr
        return start + (config.lr - start) * step / warmup_steps
    first = warmup_steps if config.cosine_from == "warmup" else 0
    progress = min((step - first) / max(total_steps - first, 1), 1.0)
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 + math.cos(math.pi * progress))
