"""The first part of a classifier, whose outputs are its features."""

from torch import Tensor, nn

from morphmlp.models.morphmlp import MorphMLP
from morphmlp.tasks.classification.features.settings import Layer, Pooling, require_known


class FeatureModel(MorphMLP):
    """The first part of a classifier, whose layers it shares: clips `[B, 3, T, H, W]` to features `[B, ...]`.

    Args:
        layer: "head" is what the classifier's last FC is given; "stage1" to "stage4" are the outputs of the stages.
        pooling: over the tokens of a stage: "mean", "max", or "none", which keeps its map `[T', H', W', C]`.

    Raises:
        ConfigError: "head" with another pooling than the mean.
    """

    def __init__(self, model: MorphMLP, *, layer: Layer = "head", pooling: Pooling = "mean"):
        nn.Module.__init__(self)
        require_known(layer, pooling)
        num_stages = len(model.stages) if layer == "head" else int(layer.removeprefix("stage"))
        self.config, self.pooling = model.config, pooling
        self.gradient_checkpointing = False
        self.stem = model.stem
        self.downsamples, self.stages = model.downsamples[: num_stages - 1], model.stages[:num_stages]
        self.norm = model.norm if layer == "head" else nn.Identity()

    def forward_head(self, x: Tensor) -> Tensor:
        """The map `[B, T', H', W', C]` of the last stage that there is -> `[B, C]`, or the map itself."""
        x = self.norm(x)
        if self.pooling == "none":
            return x
        return x.mean(dim=(1, 2, 3)) if self.pooling == "mean" else x.amax(dim=(1, 2, 3))
