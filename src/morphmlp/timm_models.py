"""The image models in timm's registry: importing this module registers them.

>>> import timm
>>> import morphmlp.timm_models
>>> timm.create_model("morphmlp_image_t", num_classes=10, features_only=True).feature_info.channels()
[84, 168, 336, 588]
"""

from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from morphmlp.config import PUBLISHED_INPUTS, ModelConfig
from morphmlp.errors import ConfigError
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import model_config

REDUCTIONS = (4, 8, 16, 32)  # strides of the four maps


class TimmMorphMLP(MorphMLP):
    """An image model with the methods that timm expects; its weights have the names of `MorphMLP`'s.

    A headless model (`num_classes=0`) cannot be saved by `morphmlp.save`, whose checkpoints hold a classifier.

    Args:
        cfg: the image model.
        num_classes: outputs; 0 gives the pooled features.
        global_pool: "avg", or "" to apply the classifier to every token of the last map.
        in_chans: 3.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last block.

    Raises:
        ConfigError: a value that is not allowed.
    """

    output_fmt = "NHWC"  # of forward_features

    def __init__(
        self,
        cfg: ModelConfig,
        *,
        num_classes: int = 1000,
        global_pool: str = "avg",
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ):
        if in_chans != 3:
            raise ConfigError(f"in_chans is {in_chans}; allowed: 3, so repeat the channel of greyscale images")
        super().__init__(replace(cfg, drop_path=drop_path_rate))
        self.drop_rate = drop_rate
        self.feature_info = [
            {"num_chs": width, "reduction": reduction, "module": f"stages.{stage}.{depth - 1}"}
            for stage, (width, reduction, depth) in enumerate(zip(cfg.map_widths, REDUCTIONS, cfg.depths, strict=True))
        ]
        self.head_hidden_size = self.num_features
        self.reset_classifier(num_classes, global_pool)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 3, H, W]` -> logits `[B, num_classes]`."""
        return self.forward_head(self.forward_features(x))

    # timm wants one tensor of a method of this name, and the package's interface wants four maps.
    def forward_features(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """`[B, 3, H, W]` -> the last map after its norm, `[B, H/32, W/32, C]`; not four maps as in `MorphMLP`."""
        return self.norm(super().forward_features(x)[-1]).squeeze(1)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """`[B, H, W, C]` -> logits `[B, num_classes]`, or what the classifier is given; `H, W` stay without pooling."""
        if self.global_pool:
            x = x.mean(dim=(1, 2))
        x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.head(x)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The maps of chosen stages, and with them what `forward_features` gives.

        Args:
            x: images, `[B, 3, H, W]`.
            indices: the last n stages, or their numbers from 0 (negative ones from the end); None takes all.
            norm: give the last stage's map after the final norm, which no other stage has.
            stop_early: leave out the stages after the last one that is asked for.
            output_fmt: "NCHW" or "NHWC".
            intermediates_only: return the maps alone.
        """
        if output_fmt not in ("NCHW", "NHWC"):
            raise ConfigError(f"output_fmt is {output_fmt!r}; allowed: 'NCHW', 'NHWC'")
        taken, last = feature_take_indices(len(self.stages), indices)
        num_stages = last + 1 if stop_early else len(self.stages)
        maps = super().forward_features(x, num_stages=num_stages)
        x = maps[-1]
        if num_stages == len(self.stages):
            x = self.norm(x)
            maps[-1] = x if norm else maps[-1]
        maps = [maps[stage].squeeze(1) for stage in taken]  # [B, H, W, C]
        if output_fmt == "NCHW":
            maps = [tokens.permute(0, 3, 1, 2).contiguous() for tokens in maps]
        return maps if intermediates_only else (x.squeeze(1), maps)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drops the stages after the last one that is asked for; returns the numbers of those that are."""
        taken, last = feature_take_indices(len(self.stages), indices)
        is_cut = last < len(self.stages) - 1
        self.stages, self.downsamples = self.stages[: last + 1], self.downsamples[:last]
        self.num_features = self.head_hidden_size = self.feature_info[last]["num_chs"]
        if prune_norm or is_cut:
            self.norm = nn.Identity()  # it has the last stage's width
        if prune_head or is_cut:
            self.reset_classifier(0, "")
        return taken

    def get_classifier(self) -> nn.Module:
        """The linear layer that gives the logits; an identity where there are none."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replaces the classifier by a fresh one, or by none for 0 classes; `global_pool` as at the start."""
        if global_pool not in (None, "avg", ""):
            raise ConfigError(f"global_pool is {global_pool!r}; allowed: 'avg', ''")
        if global_pool is not None:
            self.global_pool = global_pool
        self.num_classes = num_classes
        if num_classes:
            self.reset_head(num_classes)
        else:
            self.head = nn.Identity()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that number the parameters by depth: by block, or by stage if `coarse`."""
        # A downsampling layer belongs to the block (the stage) after it, and the final norm to the one before it.
        downsamples = [
            (rf"^downsamples\.{index}\.", (index + 1,) if coarse else (index + 1, 0))
            for index in range(len(self.downsamples))
        ]
        blocks = r"^stages\.(\d+)\." if coarse else r"^stages\.(\d+)\.(\d+)\."
        return {"stem": r"^stem\.", "blocks": [*downsamples, (blocks, None), (r"^norm\.", (99999,))]}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether blocks are recomputed in the backward pass to save memory."""
        self.gradient_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of matrices and kernels without weight decay: none (timm leaves out biases and norms by itself)."""
        return set()


def _default_cfg(size: int) -> dict[str, Any]:
    imagenet = PUBLISHED_INPUTS["imagenet"]
    return {
        "input_size": (3, size, size),
        "pool_size": (size // 32, size // 32),
        "num_classes": 1000,
        "mean": imagenet.mean,
        "std": imagenet.std,
        "interpolation": imagenet.interpolation,
        "crop_pct": 0.875,  # 224 of 256 px
        "first_conv": "stem.conv1",
        "classifier": "head",
        "license": "apache-2.0",
    }


default_cfgs = generate_default_cfgs(  # timm looks for this name
    {
        "morphmlp_image_nano": _default_cfg(64),
        "morphmlp_image_t": _default_cfg(224),
        "morphmlp_image_s": _default_cfg(224),
        "morphmlp_image_b": _default_cfg(224),
        "morphmlp_image_l": _default_cfg(224),
    }
)


def _create(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    return build_model_with_cfg(
        TimmMorphMLP,
        name,
        pretrained,
        model_cfg=model_config(name),
        feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"},
        **kwargs,
    )


@register_model
def morphmlp_image_nano(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Ours, for tests and the CPU: 64 px."""
    return _create("morphmlp_image_nano", pretrained, **kwargs)


@register_model
def morphmlp_image_t(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MorphMLP-T of Table 4."""
    return _create("morphmlp_image_t", pretrained, **kwargs)


@register_model
def morphmlp_image_s(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MorphMLP-S of Table 4."""
    return _create("morphmlp_image_s", pretrained, **kwargs)


@register_model
def morphmlp_image_b(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MorphMLP-B of Table 4."""
    return _create("morphmlp_image_b", pretrained, **kwargs)


@register_model
def morphmlp_image_l(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MorphMLP-L of Table 4."""
    return _create("morphmlp_image_l", pretrained, **kwargs)
