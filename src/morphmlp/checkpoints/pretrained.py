"""Named models with the weights that come with the package."""

from typing import Any

from morphmlp.checkpoints.folder import load
from morphmlp.checkpoints.frame_counts import resize_frames
from morphmlp.checkpoints.inflation import CLASSIFIER, SPATIAL_FIELDS, TEMPORAL_FIELDS
from morphmlp.checkpoints.starts import require_start_of, start_folder
from morphmlp.errors import ConfigError
from morphmlp.models import zoo
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import build_model, model_config


def create_model(name: str, *, pretrained: str | bool | None = None, **overrides: Any) -> MorphMLP:
    """Builds a named model; any field of `ModelConfig` can be overridden.

    Args:
        pretrained: the weights of the package to start from, such as "rendered", or True for those of the model; see
            `morphmlp models`. Classes and frames are then theirs unless they are given: the temporal layers are carried
            to other frame counts (`resize_frames`), and the head of another number of classes is a fresh one. Without
            it all weights are fresh.

    Example:
        >>> model = create_model("morphmlp_video_nano", num_classes=174, frames=32, drop_path=0.3)
        >>> model.config.frames
        32

    Raises:
        ConfigError: an unknown name or field, a value that is not allowed, or `pretrained` weights that the package has
            not, or that are of other layers.
        CheckpointError: the files of the weights are damaged.
    """
    if not pretrained:
        return zoo.create_model(name, **overrides)
    model_config(name)  # an unknown one is refused as such
    start = require_start_of(name, pretrained)
    return _started(load(start_folder(start)), name, overrides, start=start)


def _started(source: MorphMLP, name: str, overrides: dict[str, Any], *, start: str) -> MorphMLP:
    """The named model with the weights of `source`, carried to its frames and classes; in training mode."""
    former = source.config
    config = model_config(name, **{"num_classes": former.num_classes, "frames": former.frames} | overrides)
    fields = SPATIAL_FIELDS + TEMPORAL_FIELDS
    if other := [field for field in fields if getattr(config, field) != getattr(former, field)]:
        sides = ", ".join(f"{field} {getattr(former, field)!r}" for field in other)
        raise ConfigError(f"pretrained={start!r} has {sides}; leave {' and '.join(other)} out, or pretrained")
    if config.frames != former.frames:
        source = resize_frames(source, config.frames)
    model, weights, info = build_model(config), source.state_dict(), source.checkpoint_info
    if config.num_classes != former.num_classes:
        weights |= {parameter: model.state_dict()[parameter] for parameter in CLASSIFIER}
        info = info.with_fresh_head()
    model.load_state_dict(weights)
    model.checkpoint_info = info
    return model
