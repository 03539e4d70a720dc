"""What a resumed run needs beside the checkpoint: model, optimizer and place, whole or gathered from their shards."""

import io
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.optim import Optimizer

from morphmlp.config import ModelConfig
from morphmlp.distributed import world_size
from morphmlp.errors import CheckpointError
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import build_model
from morphmlp.training.run_folder import STATE_FILE, RunFolder

_WHOLE = StateDictOptions(full_state_dict=True)
_WHOLE_ON_CPU = StateDictOptions(full_state_dict=True, cpu_offload=True)  # on the main process only


def shard(model: MorphMLP, device: torch.device) -> None:
    """Spreads the weights of a model over the processes, in place (FSDP): a unit a block, and one for the rest."""
    mesh = init_device_mesh(device.type, (world_size(),))
    for stage in model.blocks():
        for block in stage:
            fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def whole_model(model: nn.Module, config: ModelConfig, device: torch.device) -> MorphMLP:
    """An ordinary model with the weights of a sharded one; all processes must ask together."""
    whole = build_model(config).to(device)
    whole.load_state_dict(get_model_state_dict(model, options=_WHOLE))
    return whole


def collect_state(model: nn.Module, optimizer: Optimizer, *, fsdp: bool) -> dict[str, Any]:
    """Weights and optimizer state by the names of the parameters; under FSDP all processes must ask together.

    Before the first step there is no optimizer state.
    """
    options = _WHOLE_ON_CPU if fsdp else _WHOLE
    has_state = bool(optimizer.state)
    return {
        "model": get_model_state_dict(model, options=options),
        "optimizer": get_optimizer_state_dict(model, optimizer, options=options) if has_state else None,
    }


def put_state(model: nn.Module, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Gives a model and its optimizer what `collect_state` collected."""
    set_model_state_dict(model, state["model"], options=_WHOLE)
    if state["optimizer"] is not None:
        set_optimizer_state_dict(model, optimizer, state["optimizer"], options=_WHOLE)


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Writes the state into a folder that exists."""
    buffer = io.BytesIO()  # written by Python, so that a full disk is an OSError
    torch.save(state, buffer)
    (folder / STATE_FILE).write_bytes(buffer.getbuffer())


def read_state(folder: RunFolder) -> tuple[dict[str, Any], list[str]]:
    """The last state, or the one before it where the last is damaged, and a note if so.

    Raises:
        CheckpointError: neither is whole.
    """
    damages = []
    for candidate in (folder.last, folder.previous):
        damage = folder.state_damage(candidate)
        if damage is None:
            state = torch.load(candidate / STATE_FILE, map_location="cpu", weights_only=True)
            notes = [f"{folder.last} is damaged ({damage}); goes on from the state before it" for damage in damages]
            return state, notes
        damages.append(damage)
    raise CheckpointError(
        f"{folder.last} is damaged ({damages[0]}), and so is {folder.previous} ({damages[1]}); "
        "start anew with --overwrite"
    )
