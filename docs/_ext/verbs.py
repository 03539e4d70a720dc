"""The directive `{verbs}`: a section for each verb of the command line, with all that its parser knows."""

import re

from docutils import nodes
from parsers import Option, options_of, parser_of
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from morphmlp.cli import VERBS


class Verbs(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        for verb in VERBS:
            self.env.note_dependency(f"../src/morphmlp/commands/{verb.replace('-', '_')}.py")
        text = "\n".join(section(verb, summary) for verb, summary in VERBS.items())
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def section(verb: str, summary: str) -> str:
    """What is said of a verb, in Markdown."""
    parser = parser_of(verb)
    lines = [f"## morphmlp {verb}", "", f"{summary[0].upper()}{summary[1:]}.", "", "```text", f"{parser.usage}", ""]
    lines += [str(parser.description), "```", "", "```sh", *_examples(str(parser.epilog)), "```", ""]
    lines += [f"```{{program}} morphmlp {verb}", "```", ""]
    for title, options in options_of(verb):
        if title not in ("positional arguments", "options"):
            lines += [f"**{title[0].upper()}{title[1:]}**", ""]
        for option in options:
            lines += _option(option)
    return "\n".join(lines)


def _examples(epilog: str) -> list[str]:
    """The commands of `example:`, without their indentation."""
    return [line.strip() for line in epilog.removeprefix("example:").strip().splitlines()]


def _option(option: Option) -> list[str]:
    """An entry that can be linked to and is in the index; positional arguments cannot."""
    if not option.names[0].startswith("-"):
        return [f"`{option.names[0]}`", f": {_escaped(option.text)}", ""]
    written = ", ".join(f"{name} {option.value}".strip() for name in option.names)
    return [f"````{{option}} {written}", _escaped(option.text), "````", ""]


def _escaped(text: str) -> str:
    """Text outside of `code` without what Markdown would take for markup.

    >>> _escaped("DIR/<class>/*.mp4 and `a*b`")
    'DIR/\\\\<class>/\\\\*.mp4 and `a*b`'
    """
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<*\[{$])", r"\\\1", part) for part in parts)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("verbs", Verbs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
