"""The weights that a training run starts from: fresh ones, or those of a checkpoint with a head that fits the data."""

import torch

from morphmlp.checkpoints import load_with_info
from morphmlp.config import RunConfig
from morphmlp.errors import CheckpointError, ConfigError
from morphmlp.model import MorphMLP
from morphmlp.tasks import seed_step
from morphmlp.zoo import build_model


def initial_model(config: RunConfig, classes: list[str]) -> tuple[MorphMLP, list[str]]:
    """The model to train, and what there is to say about where its weights come from.

    Raises:
        ConfigError: the model has not as many outputs as there are classes.
        CheckpointError: `config.init` cannot be read, or is of another architecture.
    """
    if config.model.num_classes != len(classes):
        raise ConfigError(f"model.num_classes is {config.model.num_classes}; {config.data} has {len(classes)} classes")
    seed_step(config.train.seed, 0)
    fresh = build_model(config.model)
    if config.init is None:
        return fresh, []
    source, info = load_with_info(config.init)
    same = ("depths", "widths", "chunk_lengths", "frames", "temporal", "mlp_ratio")
    different = [name for name in same if getattr(source.config, name) != getattr(config.model, name)]
    if different:
        sides = "; ".join(f"{key}: {getattr(source.config, key)}, {getattr(config.model, key)}" for key in different)
        raise CheckpointError(f"{config.init} does not fit the model to train; {sides}")
    weights = source.state_dict()
    known = info.labels or [str(i) for i in range(source.config.num_classes)]
    note = f"starts from {config.init} ({source.config.name}); "
    if known == classes:
        note += "its head is kept"
    elif sorted(known) == sorted(classes):
        rows = torch.tensor([known.index(name) for name in classes])
        weights |= {name: weights[name][rows] for name in ("head.weight", "head.bias")}
        note += "its head is kept, put into the order of these classes"
    else:
        weights |= {name: fresh.state_dict()[name] for name in ("head.weight", "head.bias")}
        note += f"its head of {len(known)} classes is replaced by a fresh one of these {len(classes)} classes"
    fresh.load_state_dict(weights)
    return fresh, [note]
