"""Docstrings as the house writes them, for napoleon: two names that share an explanation become one entry."""

import re

from sphinx.application import Sphinx

_NAMES = re.compile(r"^( {4,})((?:\w+, )+\w+): ")


def joined_names(line: str) -> str:
    """A line of an explanation with the names before its colon as one word.

    >>> joined_names("    mean, std: a channel")
    '    mean,std: a channel'
    """
    return _NAMES.sub(lambda found: f"{found[1]}{found[2].replace(' ', '')}: ", line)


def _process(app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]) -> None:
    lines[:] = [joined_names(line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _process, priority=100)  # before napoleon, 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}
