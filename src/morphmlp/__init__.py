"""MorphMLP: efficient video recognition without attention (ECCV 2022).

import morphmlp

model = morphmlp.create_model("morphmlp_video_s", num_classes=400, frames=16)
predict = morphmlp.Predictor("runs/demo/run/best")
predict("video.mp4").top(5)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from morphmlp.checkpoints import CheckpointInfo, convert_released, load, load_released, load_with_info, save
    from morphmlp.config import InputConfig, ModelConfig, TrainConfig
    from morphmlp.inference import InferenceModel, agreement, optimize
    from morphmlp.inflation import inflate, resize_frames
    from morphmlp.model import MorphMLP
    from morphmlp.predict import Prediction, Predictor
    from morphmlp.segment import SegmentedImage, SegmentPredictor
    from morphmlp.segmentation import Segmenter
    from morphmlp.zoo import create_model, create_segmenter, list_models

__all__ = [
    "CheckpointInfo",
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
    "checkpoints": ("CheckpointInfo", "convert_released", "load", "load_released", "load_with_info", "save"),
    "config": ("InputConfig", "ModelConfig", "TrainConfig"),
    "inference": ("InferenceModel", "agreement", "optimize"),
    "inflation": ("inflate", "resize_frames"),
    "model": ("MorphMLP",),
    "predict": ("Prediction", "Predictor"),
    "segment": ("SegmentPredictor", "SegmentedImage"),
    "segmentation": ("Segmenter",),
    "zoo": ("create_model", "create_segmenter", "list_models"),
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
