"""Parameters and multiply-adds, counted on the meta device: no weights are made and nothing is computed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from morphmlp.config import ModelConfig
from morphmlp.models.zoo import VARIANTS, build_model, model_config


@dataclass(frozen=True)
class Cost:
    """Of one view: `multiply_adds` counts linear and convolution layers, as the paper's GFLOPs do."""

    parameters: int
    multiply_adds: int


def count(config: ModelConfig, *, size: int | None = None) -> Cost:
    """Counts a model on one clip or image of `size` x `size` px, by default the size it was designed for."""
    size = size or config.image_size
    return count_built(
        lambda: build_model(config), (3, config.frames, size, size) if config.temporal else (3, size, size)
    )


def count_built(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> Cost:
    """Counts any model on one clip or image of a shape; attention counts, too, where it has one."""
    with torch.device("meta"):
        model = build().eval()
        clip = torch.empty((1, *shape))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(clip)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(parameters, counter.get_total_flops() // 2)


def model_rows() -> list[dict[str, Any]]:
    """A row for each named model, the paper's video models with 16 and 32 frames."""
    rows = []
    for name, variant in VARIANTS.items():
        for frames in (16, 32) if variant.temporal else (1,):
            config = model_config(name, frames=frames)
            cost = count(config)
            rows.append(
                {
                    "model": name,
                    "frames": frames,
                    "size": config.image_size,
                    "classes": config.num_classes,
                    "parameters": cost.parameters,
                    "multiply_adds": cost.multiply_adds,
                }
            )
    return rows
