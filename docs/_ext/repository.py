"""The repository in the manual: the source as pages, and links to them."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from links import ROOT, relinked, with_others
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.application import Sphinx

SOURCE = ROOT / "src" / "morphmlp"


def _relink_page(app: Sphinx, docname: str, content: list[str]) -> None:
    if docname == "index":
        content[0] = with_others(content[0], [page.stem for page in (ROOT / "docs").glob("*.md")])
    if "/" not in docname:
        content[0] = relinked(content[0], ROOT / "docs")


def _relink_included(app: Sphinx, path: Path, docname: str, content: list[str]) -> None:
    if path.suffix == ".md":
        content[0] = relinked(content[0], (Path(app.srcdir) / path).resolve().parent)


# The source as pages


def _source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    style = HtmlFormatter(lineanchors="L", linenos="inline", anchorlinenos=True, wrapcode=True)
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        code = highlight(path.read_text(encoding="utf-8"), PythonLexer(), style)
        yield _page(name), {"title": name, "body": f"<h1>{name}</h1>{code}", "parents": []}, "page.html"


def _page(name: str) -> str:
    """The page of a file: `source/models/block` of `models/block.py`."""
    return f"source/{name.removesuffix('.py')}"


def address_of_object(name: str) -> str | None:
    """Where a public class or function of the package, or a method, is defined, from a page in `docs`."""
    found: Any = importlib.import_module("morphmlp")
    try:
        for part in name.split("."):
            found = getattr(found, part)
        found = inspect.unwrap(found.fget if isinstance(found, property) else found)
        path, line = inspect.getsourcefile(found), inspect.getsourcelines(found)[1]
    except (AttributeError, TypeError, OSError):
        return None  # a field of a dataclass, which has no place of its own
    if path is None or not Path(path).is_relative_to(SOURCE):
        return None
    return f"{_page(Path(path).relative_to(SOURCE).as_posix())}.html#L-{line}"


# Names of files and of what is in them, which become links


@cache
def _lines(name: str) -> dict[str, int]:
    """The lines of all that a file of the package defines at its top."""
    found = {}
    for node in ast.parse((SOURCE / name).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node.lineno
        elif isinstance(node, ast.Assign):
            found |= {target.id: node.lineno for target in node.targets if isinstance(target, ast.Name)}
    return found


def _link_code(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Makes links of `models/block.py` and of the names after it: "`models/block.py`: `Block`"."""
    if app.builder.format != "html":
        return
    for parent in {id(node.parent): node.parent for node in doctree.findall(nodes.literal)}.values():
        file = None
        for child in list(parent.children):
            if not isinstance(child, nodes.literal) or isinstance(parent, nodes.reference):
                continue
            text = child.astext()
            name = text.removeprefix("src/morphmlp/")
            anchor = ""
            if re.fullmatch(r"[\w/]+\.py", name) and (SOURCE / name).is_file():
                file = name
            elif file and (identifier := re.match(r"\w+", text)) and identifier[0] in _lines(file):
                anchor = f"#L-{_lines(file)[identifier[0]]}"
            else:
                continue
            address = app.builder.get_relative_uri(docname, _page(file)) + anchor
            parent.replace(child, nodes.reference("", "", child.deepcopy(), refuri=address, internal=True))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _relink_page)
    app.connect("include-read", _relink_included)
    app.connect("html-collect-pages", _source_pages)
    app.connect("doctree-resolved", _link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
