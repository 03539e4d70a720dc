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

STATE_PARTS = {"progress", "data", "model", "optimizer", "averaged", "scaler"}
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
    if state["optimizer"] is None:
        return
    set_optimizer_state_dict(model, optimizer, state["optimizer"], options=_WHOLE)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if name != "step" and value.shape != parameter.shape:
                raise ValueError(f"{name} of another shape than its parameter")  # torch takes it, and fails in the step


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Writes the state into a folder that exists."""
    buffer = io.BytesIO()  # written by Python, so that a full disk is an OSError
    torch.save(state, buffer)
    (folder / STATE_FILE).write_bytes(buffer.getbuffer())


def read_state(folder: RunFolder) -> tuple[dict[str, Any], list[str]]:
    """The last state, or the one before it where the last is damaged, and a note if so.

    Raises:
        CheckpointError: neither is whole, or it is no state of a run.
    """
    damages = []
    for candidate in (folder.last, folder.previous):
        damage = folder.state_damage(candidate)
        if damage is None:
            state = _load_state(candidate / STATE_FILE)
            notes = [f"{folder.last} is damaged ({damage}); goes on from the state before it" for damage in damages]
            return state, notes
        damages.append(damage)
    raise CheckpointError(
        f"{folder.last} is damaged ({damages[0]}), and so is {folder.previous} ({damages[1]}); "
        "start anew with --overwrite"
    )


def _load_state(path: Path) -> dict[str, Any]:
    """What `write_state` wrote; the manifest can vouch for another file that was put in its place."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a foreign file raises many kinds
        raise CheckpointError(f"{path} is no state of a run ({type(error).__name__}); use --overwrite") from None
    if not isinstance(state, dict) or not state.keys() >= STATE_PARTS:
        raise CheckpointError(f"{path} is no state of a run; use --overwrite")
    return state
