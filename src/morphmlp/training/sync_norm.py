"""Batch normalisation over the batches of all processes, on the CPU too."""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from morphmlp.models.stem import TokenBatchNorm


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation whose statistics are those of all processes' batches together.

    Input is `[B, C, ...]`, or `[..., C]` where it replaces a `TokenBatchNorm`. torch's class of this name runs on GPUs
    only. `synced` is turned off for a step in which a process has no batch.
    """

    synced = True

    def __init__(self, replaced: _BatchNorm):
        super().__init__(replaced.num_features, replaced.eps, replaced.momentum)
        self.channel_last = isinstance(replaced, TokenBatchNorm)
        self.load_state_dict(replaced.state_dict())

    def _check_input_dim(self, input: Tensor) -> None:
        """Takes any number of dimensions after the channels."""

    def forward(self, input: Tensor) -> Tensor:
        rows = input.flatten(0, -2) if self.channel_last else input  # [B, C, ...] in either case
        normalised = self._synced_forward(rows) if self.training and self.synced else super().forward(rows)
        return normalised.view(input.shape)

    def _synced_forward(self, input: Tensor) -> Tensor:
        dims = [dim for dim in range(input.dim()) if dim != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        values = input.float()
        count = _summed(torch.tensor(values.numel() / values.shape[1], device=values.device))
        mean = _SumOverProcesses.apply(values.sum(dims)) / count
        centred = values - mean.view(shape)
        variance = _SumOverProcesses.apply(centred.square().sum(dims)) / count
        self._update_running_statistics(mean.detach(), variance.detach(), count)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(shape) + self.bias.view(shape)).to(input.dtype)

    def _update_running_statistics(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        momentum = 0.1 if self.momentum is None else self.momentum
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean.to(self.running_mean), momentum)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), momentum)
        self.num_batches_tracked.add_(1)


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Every process's loss depends on the sum, so their gradients add up."""
        return _summed(gradients[0])


def _summed(values: Tensor) -> Tensor:
    total = values.detach().clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


def synchronise_norms(model: nn.Module) -> None:
    """Replaces the batch normalisations of a model, in place; weights and their names stay."""
    for name, child in list(model.named_children()):
        if isinstance(child, _BatchNorm):
            setattr(model, name, SyncBatchNorm(child))
        else:
            synchronise_norms(child)


def set_synced(model: nn.Module, synced: bool) -> None:
    """Lets the synchronised normalisations of a model use the batches of all processes, or of this one alone."""
    for module in model.modules():
        if isinstance(module, SyncBatchNorm):
            module.synced = synced
