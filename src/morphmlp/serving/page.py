"""The page for people: one HTML document without any foreign address, and the policy that holds its browser to that."""

import base64
import hashlib
from functools import cache
from importlib.resources import files

from morphmlp.display.page import CSS


@cache
def page() -> str:
    """The document, with its style and its script in it."""
    return _part("page.html").replace("/* STYLE */", _style()).replace("/* SCRIPT */", _script())


@cache
def page_policy() -> str:
    """Its Content-Security-Policy: its own style and script, by their hashes, this server, and pictures in memory."""
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src '{_hash(_script())}'",
            f"style-src '{_hash(_style())}'",
            "img-src 'self' data: blob:",
            "media-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _style() -> str:
    return CSS + _part("page.css")


def _script() -> str:
    return _part("page.js")


def _part(name: str) -> str:
    return files("morphmlp.serving").joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
