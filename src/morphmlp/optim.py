"""Parameter groups and the learning rate of the published recipes."""

import math

from torch import nn
from torch.optim import AdamW

from morphmlp.config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> AdamW:
    """AdamW; no weight decay on biases, normalisation and other 1-D parameters."""
    decayed = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return AdamW(groups, lr=config.lr, eps=1e-8)


def lr_at(step: int, config: TrainConfig, *, steps_per_epoch: int) -> float:
    """Learning rate of a step, counted from 0: linear warm-up from `min_lr`, then cosine back to `min_lr`."""
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    total_steps = config.epochs * steps_per_epoch
    if step < warmup_steps:
        return config.min_lr + (config.lr - config.min_lr) * step / warmup_steps
    progress = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 + math.cos(math.pi * progress))
