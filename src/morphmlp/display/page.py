"""HTML pages that need no other file: the template, its style, and pictures inlined."""

import base64
import html
from io import BytesIO
from typing import TYPE_CHECKING

from morphmlp.formatting import encodable

if TYPE_CHECKING:
    from PIL.Image import Image


_QUALITIES = (88, 75, 60, 40, 20)  # of a JPEG, tried in turn


def inline(picture: "bytes | Image", *, most_bytes: int | None = None) -> str:
    """A data URL of the bytes of a PNG or JPEG file or, as JPEG, of a picture.

    Args:
        most_bytes: of a JPEG, as far as a lower quality can reach it; None takes the best quality.
    """
    if not isinstance(picture, bytes):
        picture = _jpeg(picture, most_bytes)
    kind = "jpeg" if picture.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _jpeg(picture: "Image", most_bytes: int | None) -> bytes:
    content = b""
    for quality in _QUALITIES:
        buffer = BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        content = buffer.getvalue()
        if most_bytes is None or len(content) <= most_bytes:
            break
    return content


def inline_drawing(png: bytes, *, most_px: int = 1400) -> str:
    """A data URL of a drawing with at most so many pixels a side and 128 colours: a fraction of the bytes."""
    from PIL import Image

    with Image.open(BytesIO(png)) as opened:
        drawing = opened.convert("RGB")
    drawing.thumbnail((most_px, most_px), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    drawing.quantize(128, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return inline(buffer.getvalue())


def escape(text: str) -> str:
    return html.escape(encodable(text))


TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{css}</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""

CSS = """
:root { --page: #fff; --card: #f6f7f8; --ink: #1f2328; --muted: #5f6772; --line: #e1e4e8; --accent: #0b7285;
  --right: #2b8a3e; --wrong: #c92a2a; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0f1216; --card: #191d23; --ink: #e6e8eb; --muted: #9aa3ad; --line: #2b3139; --accent: #3bc9db;
    --right: #69db7c; --wrong: #ff8787; }
  main figure img { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen; }
}
* { box-sizing: border-box; margin: 0; }
body { background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 64px 24px 96px; }
h1 { font-size: 2.1rem; line-height: 1.2; letter-spacing: -.015em; margin-bottom: 16px; text-wrap: balance; }
h2 { font-size: 1.25rem; margin: 64px 0 20px; }
header p { max-width: 44em; white-space: pre-line; }
header p, .none, figcaption, dt, li em { color: var(--muted); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 24px; margin: 48px 0;
  padding: 24px 0; border: solid var(--line); border-width: 1px 0; }
.facts div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.facts dd { font-size: 1.6rem; line-height: 1.3; overflow-wrap: anywhere; }
.facts div:first-child dd { color: var(--accent); font-weight: 600; }
dt, figcaption, article { font-size: .875rem; }
.charts { display: grid; gap: 48px; justify-items: center; }
figure { max-width: 100%; text-align: center; }
figure img { max-width: 100%; max-height: 760px; mix-blend-mode: multiply; }
.strips { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); gap: 24px; }
article { background: var(--card); border-radius: 10px; overflow: hidden; }
article img { display: block; width: 100%; }
article dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; padding: 16px 20px 8px; }
article dd, li span { overflow-wrap: anywhere; }
article dd { font-weight: 600; }
.right .predicted { color: var(--right); }
.wrong .predicted { color: var(--wrong); }
ol { list-style: none; padding: 8px 20px 20px; font-variant-numeric: tabular-nums; }
li { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 3fr) 3.6em; gap: 12px; align-items: center; }
li i { height: 8px; border-radius: 4px; background: var(--line); overflow: hidden; }
li b { display: block; height: 100%; border-radius: 4px; background: var(--accent); }
li em { font-style: normal; text-align: right; }
@media (max-width: 560px) { main { padding: 40px 16px; } li { grid-template-columns: 7fr 2fr 3.6em; } }
"""
