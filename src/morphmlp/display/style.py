"""One style for every figure that the package draws, and what figures share.

matplotlib is imported where it is used: the command line must start fast. Class names are other people's text and may
hold anything: `$`, `<`, `[`, any script.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphmlp.files import replace_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

ACCENT, INK, MUTED, FAINT = "#0b7285", "#1f2328", "#6b7280", "#e5e7eb"


def can_draw() -> bool:
    """Whether matplotlib is installed: where exported models run without torch, it can be left out as well."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


@contextmanager
def figure(
    png_path: str | Path,
    size: tuple[float, float],
    *,
    title: str = "",
    padding: float = 0.04167,
    crop: bool = False,
    **options: Any,
) -> "Iterator[Figure]":
    """Yields an empty figure in the package's style, and writes what the body draws as a PNG.

    Args:
        size: width and height in inches, of 150 pixels unless `options` hold another `dpi`.
        title: above all panels, on the left.
        padding: inches around each panel, by default matplotlib's own. It lays out the panels, unless `options` hold
            `layout="none"`.
        crop: cuts the picture to what is drawn and 0.3 inches around it.
        options: of matplotlib's `Figure`.
    """
    import matplotlib
    from matplotlib.figure import Figure

    style = figure_style() | dict.fromkeys(
        ("figure.constrained_layout.w_pad", "figure.constrained_layout.h_pad"), padding
    )
    with matplotlib.rc_context(style):
        canvas = Figure(size, **{"dpi": 150, "layout": "constrained", **options})
        if title:
            canvas.suptitle(drawable(title, longest=100), x=0.012, ha="left", fontsize=13, color=INK)
        yield canvas
        save_figure(canvas, png_path, **({"bbox_inches": "tight", "pad_inches": 0.3} if crop else {}))


def colour_bar(canvas: "Figure", picture: "ScalarMappable", **options: Any) -> None:
    """Adds the scale of a picture's colours, without a frame; `options` are those of matplotlib's `colorbar`."""
    canvas.colorbar(picture, **options).ax.spines["outline"].set_visible(False)


def accent_colours() -> "Colormap":
    """From nearly white over the accent to nearly black."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("accent", ["#f1f3f5", "#74b6c2", ACCENT, "#07424d"])


def hide_frame(axes: "Axes") -> None:
    """Leaves a panel's picture alone: no ticks, grid or edges."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def drawable(text: str, *, longest: int) -> str:
    """The text in one line, cut to `longest` characters, with a replacement for each that no font has.

    matplotlib would warn of each of these.
    """
    from matplotlib.font_manager import FontProperties, findfont, get_font

    fonts = [get_font(findfont(FontProperties(family=family))) for family in font_families()]
    text = " ".join(text.split())
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(
        c if any(font.get_char_index(ord(c)) for font in fonts) else "\N{REPLACEMENT CHARACTER}" for c in text
    )


@cache
def font_families() -> list[str]:
    """The installed fonts among those that we like; a later one serves for letters that the earlier ones lack.

    DejaVu Sans comes with matplotlib.
    """
    from matplotlib.font_manager import fontManager

    latin = ["Inter", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"]
    others = [
        "Noto Sans CJK SC",
        "Noto Sans CJK JP",
        "PingFang SC",
        "Hiragino Sans",
        "Microsoft YaHei",
        "Malgun Gothic",
    ]
    installed = set(fontManager.get_font_names())
    return [family for family in latin + others if family in installed]


def figure_style() -> dict[Any, Any]:
    """matplotlib's settings for every figure."""
    return {
        **dict.fromkeys(("axes.labelcolor", "xtick.color", "ytick.color"), MUTED),
        **dict.fromkeys(("axes.edgecolor", "grid.color"), FAINT),
        **dict.fromkeys(("axes.spines.right", "axes.spines.top", "text.usetex"), False),
        **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 0),
        "axes.grid": True,
        "axes.titlecolor": INK,
        "axes.titlelocation": "left",
        "font.family": font_families(),
        "font.size": 10,
        "grid.linewidth": 0.6,
        "text.parse_math": False,  # class names may hold dollar signs
        "xtick.major.pad": 7,
    }


def save_figure(figure: "Figure", path: str | Path, **options: Any) -> None:
    """Writes a PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", **options)
    replace_bytes(path, buffer.getvalue())
