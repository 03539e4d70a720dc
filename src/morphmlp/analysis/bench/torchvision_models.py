"""The models of torchvision to compare with: fresh weights, and their published accuracy."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from morphmlp.models.cost import count_built

PUBLISHED_SIZE = 224  # px of the clips and images that the published accuracies were measured on


@dataclass(frozen=True)
class Published:
    """A published accuracy: top-1 in percent on Kinetics-400, or on ImageNet-1K where `frames` is None.

    Attributes:
        frames: of a clip; the accuracy holds for this many, also where the speed is measured on others.
        views: of a video, joined to one prediction; their cost adds up.
    """

    top1: float
    frames: int | None = None
    views: int = 1


@dataclass(frozen=True)
class Reference:
    """A model of torchvision: how to build it, its published accuracy, and the only clip that it takes, if any."""

    name: str
    build: Callable[[], nn.Module]
    published: Published
    only_clip: tuple[int, int] | None = None  # frames, and px of each side

    def refusal(self, frames: int | None, size: int) -> str | None:
        """Why it does not take such a clip or image; None where only a run can tell."""
        if self.only_clip in (None, (frames, size)):
            return None
        only_frames, only_size = self.only_clip
        return f"is built for {only_frames} x {only_size} x {only_size}"

    def multiply_adds(self, shape: tuple[int, ...]) -> int:
        """Of one clip or image of `shape`: linear layers, convolutions, attention."""
        return count_built(self.build, shape).multiply_adds


def video_references() -> list[Reference]:
    """Video Swin-T, MViTv2-S and S3D: about as large and as old as the paper's models."""
    from torchvision.models import video

    return [
        _reference("swin3d_t", video.swin3d_t, video.Swin3D_T_Weights.KINETICS400_V1, "Kinetics-400"),
        # Its positions are embedded for this clip, and the function that builds it takes no other.
        _reference(
            "mvit_v2_s", video.mvit_v2_s, video.MViT_V2_S_Weights.KINETICS400_V1, "Kinetics-400", only_clip=(16, 224)
        ),
        _reference("s3d", video.s3d, video.S3D_Weights.KINETICS400_V1, "Kinetics-400"),
    ]


def image_references() -> list[Reference]:
    """Swin-T, ConvNeXt-T and ResNet-50: about the 4 G multiply-adds of image T."""
    from torchvision import models

    return [
        _reference("swin_t", models.swin_t, models.Swin_T_Weights.DEFAULT, "ImageNet-1K"),
        _reference("convnext_tiny", models.convnext_tiny, models.ConvNeXt_Tiny_Weights.DEFAULT, "ImageNet-1K"),
        _reference("resnet50", models.resnet50, models.ResNet50_Weights.DEFAULT, "ImageNet-1K"),
    ]


def _reference(name: str, build: Callable[..., nn.Module], weights: Any, dataset: str, **options: Any) -> Reference:
    """The published accuracy, frames and views are those that torchvision gives with its weights."""
    top1 = weights.meta["_metrics"][dataset]["acc@1"]
    published = Published(top1)
    if dataset == "Kinetics-400":
        published = Published(top1, *_frames_and_views(weights.meta["_docs"]))
    return Reference(name, lambda: build(weights=None), published, **options)


def _frames_and_views(description: str) -> tuple[int, int]:
    """From torchvision's description of an accuracy.

    >>> _frames_and_views("video-level with parameters `frame_rate=15`, `clips_per_video=12`, and `clip_len=32`")
    (32, 12)
    """
    frames, views = (re.search(rf"{name}=(\d+)", description) for name in ("clip_len", "clips_per_video"))
    assert frames, description
    assert views, description
    return int(frames[1]), int(views[1])
