"""Cells of commands look like commands: what has them run, and their two streams joined, is not shown."""

import nbclient.client
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from traitlets import Bool

_MAGIC = "%%bash\nexec 2>&1\n"


class Client(nbclient.client.NotebookClient):
    """Joins the pieces of a stream as Jupyter does; myst-nb's own `nb_merge_streams` breaks lines where it joins."""

    coalesce_streams = Bool(True)


class ShownCommands(SphinxPostTransform):
    default_priority = 1

    def run(self, **_: object) -> None:
        for block in self.document.findall(nodes.literal_block):
            if block.rawsource.startswith(_MAGIC) or block.astext().startswith(_MAGIC):
                text = block.astext().removeprefix(_MAGIC)
                block.rawsource, block["language"] = text, "sh"
                block.children = [nodes.Text(text)]


def setup(app: Sphinx) -> dict[str, bool]:
    nbclient.client.NotebookClient = Client  # type: ignore[misc]
    app.add_post_transform(ShownCommands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
