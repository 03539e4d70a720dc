"""The run of the released code that our model is compared with: its weights, its clip and what came out.

`recorded/released_s16.json` holds, for the released MorphMLP-S of 16 frames: the name and shape of every tensor, the
logits, and of 16 activations the shape, mean, standard deviation and the first and last 8 values. The weights were
random numbers that depend on a tensor's name and shape alone, so that 47 M of them need not be stored.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_RECORD = Path(__file__).parent / "recorded" / "released_s16.json"


def read_record() -> dict[str, Any]:
    """The recorded names, shapes, activations and logits."""
    return json.loads(_RECORD.read_text(encoding="utf-8"))


def released_weights(record: dict[str, Any]) -> dict[str, Tensor]:
    """The state dict that the record was made with, by released name."""
    return {name: draw_tensor(name, tuple(shape)) for name, shape in record["shapes"].items()}


def released_clip(record: dict[str, Any]) -> Tensor:
    """The clip that the record was made with: standard normal, `[1, 3, 16, 224, 224]`."""
    values = _generator(record["input_seed"]).standard_normal(record["input_shape"])
    return torch.from_numpy(values.astype(np.float32))


def fill_model(model: nn.Module) -> nn.Module:
    """Gives every parameter and running statistic a value of a trained network's size; returns the model."""
    state = {name: draw_tensor(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()}
    model.load_state_dict(state)
    return model


def draw_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """The values of the tensor `name`; float32, a batch counter int64. The same on every machine.

    Matrices and kernels have a variance of 1 / fan-in, so that activations keep their size through the network;
    scales and variances lie near 1, biases and means near 0.
    """
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    values = _generator(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        values = 1.0 + 0.1 * np.abs(values)
    elif len(shape) > 1:
        values = values / np.sqrt(np.prod(shape[1:]))
    elif "norm" in name and name.endswith("weight"):
        values = 1.0 + 0.1 * values
    else:
        values = 0.1 * values
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def _generator(seed: int) -> np.random.RandomState:
    # numpy promises that the stream of the old RandomState never changes; it makes no such promise for Generator.
    return np.random.RandomState(seed)
