"""Labels beside points of a plot, where they cover nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from morphmlp.display.style import ACCENT, MUTED

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox


@dataclass(frozen=True)
class Label:
    """A point of a panel, in data coordinates, and what is written beside it."""

    x: float
    y: float
    text: str
    is_ours: bool = False


_PLACES = [  # where a label may be, in points from its marker, the best place first
    (7, 0, "left", "center"),
    (-7, 0, "right", "center"),
    (0, 7, "center", "bottom"),
    (0, -7, "center", "top"),
    (5, 5, "left", "bottom"),
    (-5, 5, "right", "bottom"),
    (5, -5, "left", "top"),
    (-5, -5, "right", "top"),
]


def place_labels(axes: "Axes", labels: Sequence[Label]) -> None:
    """Writes each label at the place around its point that covers least of other points, lines, labels and legend.

    The figure's layout must be settled.
    """
    taken = [_box_around(point, axes) for line in axes.lines for point in _pixels_along(line)]
    if legend := axes.get_legend():
        taken.append(legend.get_window_extent())
    for label in sorted(labels, key=lambda label: not label.is_ours):  # our own choose first
        texts = [_write(axes, label, place) for place in _PLACES]
        boxes = [text.get_window_extent() for text in texts]
        best = min(range(len(texts)), key=lambda index: _covered(boxes[index], taken, axes.bbox))
        taken.append(boxes[best])
        for text in texts[:best] + texts[best + 1 :]:
            text.remove()


def _write(axes: "Axes", label: Label, place: tuple[int, int, Any, Any]) -> "Annotation":
    right, up, ha, va = place
    text = axes.annotate(
        label.text,
        (label.x, label.y),
        (right, up),
        textcoords="offset points",
        ha=ha,
        va=va,
        color=ACCENT if label.is_ours else MUTED,
        weight="bold" if label.is_ours else "normal",
        fontsize=8.5,
    )
    text.set_in_layout(False)
    return text


def _pixels_along(line: "Line2D") -> "np.ndarray":
    """The line's markers `[N, 2]` in pixels; where it joins them, 20 points of each stretch between two."""
    import numpy as np

    markers = line.get_transform().transform(line.get_xydata())
    if line.get_linestyle() == "None":
        return markers
    steps = np.linspace(0, 1, 20)[:, None]
    return np.concatenate([a + steps * (b - a) for a, b in pairwise(markers)])


def _box_around(pixel: "np.ndarray", axes: "Axes") -> "Bbox":
    """The square of a marker."""
    from matplotlib.transforms import Bbox

    reach = 5.5 / 72 * axes.figure.dpi  # 5.5 points: a marker of 6, and some air
    return Bbox([pixel - reach, pixel + reach])


def _covered(box: "Bbox", taken: "Sequence[Bbox]", inside: "Bbox") -> float:
    """Pixels of the box that lie on others; those outside count a hundredfold."""
    return sum(_shared(box, other) for other in taken) + 100 * (box.width * box.height - _shared(box, inside))


def _shared(box: "Bbox", other: "Bbox") -> float:
    """Area that two boxes share."""
    from matplotlib.transforms import Bbox

    both = Bbox.intersection(box, other)
    return both.width * both.height if both else 0.0
