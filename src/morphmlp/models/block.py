"""The block of MorphMLP (Fig. 7)."""

import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.models.recompute import remade


class Block(nn.Module):
    """MorphFC_t, MorphFC_s and MLP (Fig. 7), each after a LayerNorm.

    The skip residual (the figure's red line) of the spatial layer starts at the block's input x, not at u. An image
    model has no temporal layer: there u = x.

    Args:
        width: channels C.
        temporal, spatial: layers from `[B, T', H, W, C]` to the same shape.
        drop_path: rate for the spatial layer and the MLP; the temporal layer is never dropped.
    """

    def __init__(self, width: int, *, temporal: nn.Module | None, spatial: nn.Module, mlp: nn.Module, drop_path: float):
        super().__init__()
        if temporal is not None:
            self.temporal_norm = nn.LayerNorm(width)
        self.temporal = temporal
        self.spatial_norm = nn.LayerNorm(width)
        self.spatial = spatial
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = mlp
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T', H, W, C]` -> the same shape."""
        u = x if self.temporal is None else x + self.temporal(remade(self.temporal_norm, x))
        y = x + self.drop_path(self.spatial(self.spatial_norm(u)))
        return y + self.drop_path(self.mlp(remade(self.mlp_norm, y)))  # z


class MLP(nn.Module):
    """Two FCs with an exact GELU between them."""

    def __init__(self, width: int, hidden_width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden_width)
        self.fc2 = nn.Linear(hidden_width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., C]` -> `[..., C]`."""
        return self.fc2(remade(F.gelu, self.fc1(x)))


class DropPath(nn.Module):
    """Stochastic depth: in training, drops a clip's whole branch with probability `rate`, and scales the rest."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """`[B, ...]` -> the same shape."""
        if not self.training or self.rate == 0:
            return x
        keep = x.new_empty(x.shape[0], *[1] * (x.dim() - 1)).bernoulli_(1 - self.rate)
        return x * keep / (1 - self.rate)

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3f}"


def init_weights(module: nn.Module) -> None:
    """Truncated normal 0.02 for linear weights, zero biases; convolutions keep the framework's default."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
