"""Where a model looked: Grad-CAM over space and time. A clip is `[1, 3, T, H, W]` as the model takes it.

Selvaraju et al., "Visual Explanations from Deep Networks via Gradient-based Localization" (ICCV 2017).
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from morphmlp.config import ModelConfig
from morphmlp.inference.device import evaluating
from morphmlp.models.morphmlp import MorphMLP


def grad_cams(model: MorphMLP, clip: Tensor, target: int, *, stages: Collection[int]) -> dict[int, Tensor]:
    """Grad-CAM over space and time: where each stage's map speaks for class `target`, `[T', h, w]`, 0 or more.

    A channel's weight is the gradient of the class's score, on the mean over all tokens of the clip. What speaks
    against the class is cut off. A segmenter's score is the mean logit over the pixels that it gives the class.
    Only the maps get gradients: no parameter's `grad` changes.
    """
    ends = {stage: block for stage, _, block in blocks_of(model) if stage in stages}  # the last block of each
    with evaluating(model), torch.enable_grad(), recorded(ends.values()) as outputs:
        # A frozen model would keep no graph, so it starts at the clip.
        score = _class_score(model(clip.detach().requires_grad_()), target)
        maps = [outputs[end] for end in ends.values()]  # each [1, T', h, w, C]
        gradients = torch.autograd.grad(score, maps)
    return {
        stage: (features * gradient.mean(dim=(1, 2, 3), keepdim=True)).sum(dim=-1).relu()[0].detach()
        for stage, features, gradient in zip(ends, maps, gradients, strict=True)
    }


def _class_score(logits: Tensor, target: int) -> Tensor:
    if logits.dim() == 2:
        return logits[0, target]
    return logits[0, target][logits[0].argmax(dim=0) == target].mean()


def blocks_of(model: MorphMLP) -> Iterator[tuple[int, int, Any]]:
    """Stage, block and the block itself: a `Block`, or the CNN style's `Bottleneck`, which has the same names."""
    for stage, blocks in enumerate(model.stages, start=1):
        for number, block in enumerate(blocks.children(), start=1):
            yield stage, number, block


def step_frames(config: ModelConfig) -> list[int]:
    """The frame in the middle of each time step t: the stem's kernel of 3 with stride 2 sees frames 2t - 1 to 2t + 1.

    For 8 frames: [0, 2, 4, 6].
    """
    return list(range(0, config.frames, 2)) if config.temporal else [0]


@contextmanager
def recorded(modules: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Any]]:
    """The outputs of the modules while the body runs.

    We avoid hooks elsewhere. But only Grad-CAM and `visualize` need these intermediates, and returning them from every
    `forward` would burden the model, its compilation and its export.
    """
    outputs: dict[nn.Module, Any] = {}

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        outputs[module] = output

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
