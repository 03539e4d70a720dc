"""What can be asked of features; it loads no torch, as the options of the command line come from it."""

from typing import Literal

Layer = Literal["head", "stage1", "stage2", "stage3", "stage4"]
Pooling = Literal["mean", "max", "none"]
Format = Literal["safetensors", "npz"]
