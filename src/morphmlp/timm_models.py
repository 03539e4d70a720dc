"""The image models, and the video model that has weights in the package, in timm's registry: importing registers them.

>>> import timm
>>> import morphmlp.timm_models
>>> timm.create_model("morphmlp_image_t", num_classes=10, features_only=True).feature_info.channels()
[84, 168, 336, 588]
>>> timm.create_model("morphmlp_video_nano", pretrained=True, num_classes=10, frames=16).config.frames
16
"""

from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from morphmlp.checkpoints.pretrained import create_model
from morphmlp.checkpoints.starts import STARTS
from morphmlp.config import PUBLISHED_INPUTS, InputConfig, ModelConfig, default_input
from morphmlp.errors import ConfigError
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import model_config

REDUCTIONS = (4, 8, 16, 32)  # strides of the four maps


class TimmMorphMLP(MorphMLP):
    """A model with the methods that timm expects; its weights have the names of `MorphMLP`'s.

    A video model takes clips, `[B, 3, T, H, W]`, and its maps have a dimension of time before those of space.

    A headless model (`num_classes=0`) cannot be saved by `morphmlp.save`, whose checkpoints hold a classifier.

    Args:
        cfg: the model.
        num_classes: outputs; 0 gives the pooled features.
        global_pool: "avg", or "" to apply the classifier to every token of the last map.
        in_chans: 3.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last block.
        frames: of the clips of a video model, by default those of `cfg`.

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
        frames: int | None = None,
    ):
        if in_chans != 3:
            raise ConfigError(f"in_chans is {in_chans}; allowed: 3, so repeat the channel of greyscale images")
        super().__init__(replace(cfg, drop_path=drop_path_rate, frames=cfg.frames if frames is None else frames))
        self.drop_rate = drop_rate
        self.feature_info = [
            {"num_chs": width, "reduction": reduction, "module": f"stages.{stage}.{depth - 1}"}
            for stage, (width, reduction, depth) in enumerate(zip(cfg.map_widths, REDUCTIONS, cfg.depths, strict=True))
        ]
        self.head_hidden_size = self.num_features
        self.reset_classifier(num_classes, global_pool)

    def forward(self, x: Tensor) -> Tensor:
        """Images, `[B, 3, H, W]`, or clips -> logits `[B, num_classes]`."""
        return self.forward_head(self.forward_features(x))

    # timm wants one tensor of a method of this name, and the package's interface wants four maps.
    def forward_features(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """The last map after its norm: `[B, H/32, W/32, C]`, of clips `[B, T/2, H/32, W/32, C]`.

        Not four maps as in `MorphMLP`.
        """
        return self._shown(self.norm(super().forward_features(x)[-1]))

    def _shown(self, tokens: Tensor) -> Tensor:
        """`[B, T', H, W, C]` without the time of an image."""
        return tokens if self.config.temporal else tokens.squeeze(1)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """`[B, H, W, C]` -> logits `[B, num_classes]`, or what the classifier is given; `H, W` stay without pooling."""
        if self.global_pool:
            x = x.flatten(1, -2).mean(dim=1) if self.config.temporal else x.mean(dim=(1, 2))
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
        maps = [self._shown(maps[stage]) for stage in taken]  # [B, H, W, C], or [B, T', H, W, C]
        if output_fmt == "NCHW":
            maps = [tokens.movedim(-1, 1).contiguous() for tokens in maps]
        return maps if intermediates_only else (self._shown(x), maps)

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

    def load_pretrained(self, start: str) -> None:
        """Takes the weights of the package, carried to these frames; the head too, where it is of as many classes.

        Raises:
            CheckpointError: their files are damaged.
        """
        classes = {"num_classes": self.num_classes} if self.num_classes else {}
        weights = create_model(self.config.name, pretrained=start, frames=self.config.frames, **classes).state_dict()
        self.load_state_dict({name: value for name, value in weights.items() if name in self.state_dict()})

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


def _cfg(values: InputConfig, size: int, **others: Any) -> dict[str, Any]:
    return {
        "input_size": (3, size, size),
        "pool_size": (size // 32, size // 32),
        "mean": values.mean,
        "std": values.std,
        "interpolation": values.interpolation,
        "crop_pct": 0.875,  # 224 of 256 px
        "first_conv": "stem.conv1",
        "classifier": "head",
        "license": "apache-2.0",
        **others,
    }


def _image_cfg(size: int) -> dict[str, Any]:
    return _cfg(PUBLISHED_INPUTS["imagenet"], size, num_classes=1000)


def _start_cfg(start: str, *, num_classes: int) -> dict[str, Any]:
    """Of weights of the package; timm hands their name, as that of a file, to `load_pretrained`."""
    config = model_config(STARTS[start].model)
    source = {"file": start, "custom_load": True}
    return _cfg(default_input(config), config.image_size, num_classes=num_classes, crop_pct=64 / 72, **source)


default_cfgs = generate_default_cfgs(  # timm looks for this name
    {
        "morphmlp_video_nano.rendered": _start_cfg("rendered", num_classes=63),
        "morphmlp_image_nano": _image_cfg(64),
        "morphmlp_image_t": _image_cfg(224),
        "morphmlp_image_s": _image_cfg(224),
        "morphmlp_image_b": _image_cfg(224),
        "morphmlp_image_l": _image_cfg(224),
    }
)


def _create(name: str, pretrained: bool, *, config: ModelConfig | None = None, **kwargs: Any) -> nn.Module:
    return build_model_with_cfg(
        TimmMorphMLP,
        name,
        pretrained,
        model_cfg=config or model_config(name),
        feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"},
        **kwargs,
    )


@register_model
def morphmlp_video_nano(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Ours, for the CPU: clips of 8 frames of 64 px, or of as many as `frames` says."""
    config = model_config("morphmlp_video_nano", frames=8)  # as its weights have
    return _create("morphmlp_video_nano", pretrained, config=config, **kwargs)


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
