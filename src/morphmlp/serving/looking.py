"""The clip that the model saw, and where it looked, as pictures of a page."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from morphmlp.data.clips.seen import seen_frames
from morphmlp.display.film_strip import film_strip
from morphmlp.display.heat import heated
from morphmlp.display.page import inline
from morphmlp.tasks.classification.predictor import Prediction, Predictor

if TYPE_CHECKING:
    from morphmlp.models.morphmlp import MorphMLP

STAGE = 3  # whose map is finer than the last one's, and means more than those before it


class Looker:
    """Draws for a predictor.

    Attributes:
        can_look: whether there is a model with gradients: whatever computes the answers, it is that of the
            checkpoint; an exported folder has none.
    """

    def __init__(self, predictor: Predictor, checkpoint: str | Path):
        self._predictor, self._checkpoint = predictor, checkpoint
        self.can_look = not predictor.info.exported and find_spec("torch") is not None
        self._model: MorphMLP | None = None

    def strip(self, clip: np.ndarray) -> str:
        """The frames of a clip `[1, 3, T, h, w]` side by side, a data URL."""
        return inline(film_strip(seen_frames(clip, self._predictor.input)))

    def look(self, clip: np.ndarray, prediction: Prediction) -> str | None:
        """Grad-CAM for the best class over the frames of a clip, a data URL; None where the model has no gradients.

        What the predictor computes with is arranged for speed, without gradients, so the checkpoint is loaded once more
        at the first call.
        """
        if not self.can_look:
            return None
        import torch

        from morphmlp.inference.grad_cam import grad_cams, step_frames

        model = self._model = self._model or self._load()
        target = int(prediction.probabilities.argmax())
        cam = grad_cams(model, torch.from_numpy(clip), target, stages=[STAGE])[STAGE].numpy()
        frames = seen_frames(clip, self._predictor.input)[step_frames(model.config)]
        return inline(film_strip(heated(frames, cam)))

    def _load(self) -> "MorphMLP":
        from morphmlp.checkpoints.folder import load_with_info

        return load_with_info(self._checkpoint)[0]
