"""Pictures: training curves, confusion matrix, film strips and the overview.

matplotlib and Pillow are imported where they are used: the command line must start fast. Class names are other people's
text and may hold anything: `$`, `<`, `[`, any script.
"""

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphmlp.files import replace_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACCENT, INK, MUTED, FAINT = "#0b7285", "#1f2328", "#6b7280", "#e5e7eb"


def drawable(text: str, *, longest: int) -> str:
    """One line of at most `longest` characters, those that no font has replaced; matplotlib warns of each otherwise."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    fonts = [get_font(findfont(FontProperties(family=family))) for family in font_families()]
    text = " ".join(text.split())
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(
        c if any(font.get_char_index(ord(c)) for font in fonts) else "\N{REPLACEMENT CHARACTER}" for c in text
    )


@cache
def font_families() -> list[str]:
    """The fonts of choice that are installed; DejaVu Sans comes with matplotlib. Later ones fill in missing letters."""
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


def figure_style() -> Any:
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
