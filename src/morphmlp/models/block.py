"""The block of MorphMLP (Fig. 7)."""

import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.config import ModelConfig
from morphmlp.models.alternatives import make_spatial, make_temporal


class Block(nn.Module):
    """MorphFC_t, MorphFC_s and MLP (Fig. 7), arranged as Table 7 compares them.

    The published block is sequential, temporal first, and its skip residual (the figure's red line) starts at the
    block's input x, not after the temporal layer:

        u = x + TemporalFC(LN(x));  y = x + SpatialFC(LN(u));  z = y + MLP(LN(y))

    With the standard residual, y = u + SpatialFC(LN(u)); with order "st" the two layers change places, so that under
    the skip residual y = x + TemporalFC(LN(u)), and at the identity start y = x: the spatial layer is not seen, which
    is the row that fails in the table. In parallel, y = x + TemporalFC(LN(x)) + SpatialFC(LN(x)).

    Args:
        stage: from 0; sets width and chunk length.
        drop_path: rate for the spatial layer and the MLP; the temporal layer is never dropped.
    """

    def __init__(self, config: ModelConfig, stage: int, *, drop_path: float):
        super().__init__()
        width = config.widths[stage]
        self.parallel = config.block == "parallel"
        self.temporal_first = config.order == "ts"
        self.skip = config.residual == "skip"
        self.temporal_norm = nn.LayerNorm(width) if config.temporal else None
        self.temporal = make_temporal(config, width) if config.temporal else None
        self.spatial_norm = nn.LayerNorm(width)
        self.spatial = make_spatial(config, stage)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = MLP(width, config.hidden_width(width))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T', H, W, C]` -> the same shape."""
        x = self._mix_tokens(x)
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))

    def _mix_tokens(self, x: Tensor) -> Tensor:
        if self.temporal is None:
            return x + self._over_space(x)
        if self.parallel:
            return x + self._over_time(x) + self._over_space(x)
        first, second = (
            (self._over_time, self._over_space) if self.temporal_first else (self._over_space, self._over_time)
        )
        u = x + first(x)
        return (x if self.skip else u) + second(u)

    def _over_time(self, x: Tensor) -> Tensor:
        return self.temporal(self.temporal_norm(x))  # type: ignore[misc]

    def _over_space(self, x: Tensor) -> Tensor:
        return self.drop_path(self.spatial(self.spatial_norm(x)))


class MLP(nn.Module):
    """Two FCs with an exact GELU between them."""

    def __init__(self, width: int, hidden_width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden_width)
        self.fc2 = nn.Linear(hidden_width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., C]` -> `[..., C]`."""
        return self.fc2(F.gelu(self.fc1(x)))


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
