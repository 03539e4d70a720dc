"""MorphMLP: efficient video recognition without attention (ECCV 2022).

import morphmlp

model = morphmlp.create_model("morphmlp_video_s", num_classes=400, frames=16)
predict = morphmlp.Predictor("runs/demo/run/best")
predict("video.mp4").top(5)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from morphmlp.checkpoints.folder import CheckpointInfo, load, load_with_info, save
    from morphmlp.checkpoints.frame_counts import resize_frames
    from morphmlp.checkpoints.inflation import inflate
    from morphmlp.checkpoints.pretrained import create_model
    from morphmlp.checkpoints.released import convert_released, load_released
    from morphmlp.config import InputConfig, ModelConfig, TrainConfig
    from morphmlp.inference.optimize import InferenceModel, agreement, optimize
    from morphmlp.models.morphmlp import MorphMLP
    from morphmlp.models.segmenter import Segmenter
    from morphmlp.models.zoo import create_segmenter, list_models
    from morphmlp.tasks.classification.features.extractor import FeatureExtractor
    from morphmlp.tasks.classification.predictor import Prediction, Predictor, Window
    from morphmlp.tasks.segmentation.predictor import SegmentedImage, SegmentPredictor

__all__ = [
    "CheckpointInfo",
    "FeatureExtractor",
    "InferenceModel",
    "InputConfig",
    "ModelConfig",
    "MorphMLP",
    "Prediction",
    "Predictor",
    "SegmentPredictor",
    "SegmentedImage",
    "Segmenter",
    "TrainConfig",
    "Window",
    "agreement",
    "convert_released",
    "create_model",
    "create_segmenter",
    "inflate",
    "list_models",
    "load",
    "load_released",
    "load_with_info",
    "optimize",
    "resize_frames",
    "save",
]

_HOMES = {
    "checkpoints.folder": ("CheckpointInfo", "load", "load_with_info", "save"),
    "checkpoints.frame_counts": ("resize_frames",),
    "checkpoints.inflation": ("inflate",),
    "checkpoints.pretrained": ("create_model",),
    "checkpoints.released": ("convert_released", "load_released"),
    "config": ("InputConfig", "ModelConfig", "TrainConfig"),
    "inference.optimize": ("InferenceModel", "agreement", "optimize"),
    "models.morphmlp": ("MorphMLP",),
    "models.segmenter": ("Segmenter",),
    "models.zoo": ("create_segmenter", "list_models"),
    "tasks.classification.features.extractor": ("FeatureExtractor",),
    "tasks.classification.predictor": ("Prediction", "Predictor", "Window"),
    "tasks.segmentation.predictor": ("SegmentPredictor", "SegmentedImage"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imports a public name on first use: torch takes seconds, and `morphmlp --help` must not wait for it."""
    if name == "data":
        return importlib.import_module("morphmlp.data")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'morphmlp' has no attribute {name!r}")
    return getattr(importlib.import_module(f"morphmlp.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
