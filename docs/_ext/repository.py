"""The repository in the manual: the source as pages, and links to them."""

import ast
import importlib
import inspect
import re
from collections.abc import Collection, Iterator
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


def address_of_object(module: str, name: str) -> str | None:
    """Where a class or function that a module has, or a method, is defined, from a page in `docs`.

    >>> str(address_of_object("morphmlp", "MorphMLP.forward")).partition("#")[0]
    'source/models/morphmlp.html'
    """
    found: Any = importlib.import_module(module)
    try:
        for part in name.split("."):
            found = getattr(found, part)
        found = inspect.unwrap(getattr(found, "fget", found))
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
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node.lineno
    return found


def _link_code(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Makes links of names in `code`: of pages, of files of the package, and of what is in the file named before."""
    if app.builder.format != "html":
        return
    for parent in {id(node.parent): node.parent for node in doctree.findall(nodes.literal)}.values():
        if isinstance(parent, nodes.reference):
            continue
        file = ""
        for literal in [child for child in parent.children if isinstance(child, nodes.literal)]:
            page, anchor, file = _meant(literal.astext(), file, pages=app.env.found_docs)
            if page and page != docname:
                address = app.builder.get_relative_uri(docname, page) + anchor
                parent.replace(literal, nodes.reference("", "", literal.deepcopy(), refuri=address, internal=True))


def _meant(text: str, file: str, *, pages: Collection[str]) -> tuple[str, str, str]:
    """The page and the anchor that a name stands for, "" for none, and the file that names after it are in.

    >>> _meant("models/block.py", "", pages=[])
    ('source/models/block', '', 'models/block.py')
    >>> _meant("docs/data.md", "models/block.py", pages=["data"])
    ('data', '', 'models/block.py')
    """
    name = text.removeprefix("src/morphmlp/")
    if re.fullmatch(r"[\w/]+\.py", name) and (SOURCE / name).is_file():
        return _page(name), "", name
    page = text.removeprefix("docs/").removesuffix(".md")
    if text.endswith(".md") and page in pages:
        return page, "", file
    identifier = re.split(r"\W", text, maxsplit=1)[0]
    if file and identifier in _lines(file):
        return _page(file), f"#L-{_lines(file)[identifier]}", file
    return "", "", file


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _relink_page)
    app.connect("include-read", _relink_included)
    app.connect("html-collect-pages", _source_pages)
    app.connect("doctree-resolved", _link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
