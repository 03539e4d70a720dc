"""Links and lists of pages in Markdown that is read in the repository itself, and in the manual.

In the repository links are such as `docs/data.md` and `../src/morphmlp/recipes`.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "README.md": "index.md"}


def relinked(text: str, folder: Path) -> str:
    """The text of a file in `folder` with its links as they are from the pages in `docs`.

    What is no page of the manual loses its link and keeps its words.

    >>> relinked("[data](docs/data.md#labels), [recipes](src/morphmlp/recipes)", ROOT)
    '[data](data.md#labels), recipes'
    """

    def replace(link: re.Match[str]) -> str:
        words, path, anchor = link.groups()
        file = (folder / path).resolve()
        if file.is_relative_to(ROOT / "docs"):
            return f"[{words}]({file.relative_to(ROOT / 'docs').as_posix()}{anchor or ''})"
        page = _PAGES.get(file.relative_to(ROOT).as_posix()) if file.is_relative_to(ROOT) else None
        return f"[{words}]({page}{anchor or ''})" if page else words

    return re.sub(r"\[([^\[\]]+)\]\((?!\w+:|#)([^()\s#]+)(#[^()\s]+)?\)", replace, text)


def with_others(index: str, pages: list[str]) -> str:
    """The index with the pages that it does not name in place of its line "(others)".

    >>> with_others("train\\n(others)", ["serve", "train", "deploy"])
    'train\\ndeploy\\nserve'
    """
    named = {"index", *index.splitlines()}
    return index.replace("(others)", "\n".join(page for page in sorted(pages) if page not in named))
