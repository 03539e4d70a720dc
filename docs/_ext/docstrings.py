"""Docstrings and signatures as the house writes them, for napoleon and autodoc."""

import re

from sphinx.application import Sphinx

_NAMES = re.compile(r"^( {4,})((?:\w+, )+\w+): ")


def joined_names(line: str) -> str:
    """A line with the names before its colon as one word: two that share an explanation are one entry.

    >>> joined_names("    mean, std: a channel")
    '    mean,std: a channel'
    """
    return _NAMES.sub(lambda found: f"{found[1]}{found[2].replace(' ', '')}: ", line)


def _process(app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]) -> None:
    lines[:] = [joined_names(line) for line in lines]


def _sign(
    app: Sphinx, what: str, name: str, found: object, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Shows defaults that are made anew each time as `...`: `<factory>` is no Python, and no type would be read."""
    return signature and signature.replace("<factory>", "..."), returns


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _process, priority=100)  # before napoleon, 500
    app.connect("autodoc-process-signature", _sign)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
