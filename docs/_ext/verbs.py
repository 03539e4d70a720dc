"""The directive `{verbs}`: a section for each verb of the command line, with all that its parser knows."""

from docutils import nodes
from parsers import section
from repository import SOURCE
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from morphmlp.cli import VERBS


class Verbs(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        for room in ("commands", "config"):  # where options and their defaults are
            for path in (SOURCE / room).glob("*.py"):
                self.env.note_dependency(path)
        text = "\n".join(section(verb, summary) for verb, summary in VERBS.items())
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("verbs", Verbs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
