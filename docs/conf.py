"""The manual as a site: `make docs`. The pages are the Markdown files of this folder; `index.md` orders them."""

import hashlib
import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src" / "morphmlp"
sys.path.insert(0, str(DOCS / "_ext"))
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # `morphmlp` in the cells

project = "morphmlp"
author = "The morphmlp developers"
version = release = version_of("morphmlp")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.linkcode",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "cells",
    "docstrings",
    "formulas",
    "repository",
    "verbs",
]
exclude_patterns = ["_build"]
nitpicky = True
# Types of other packages; their inventories are on the network, where a build must not depend on it.
# The same for what only the package makes while it reads data.
nitpick_ignore_regex = [
    ("py:.*", r"(torch|numpy|np|pathlib|PIL|collections|av|typing|os)\..*"),
    ("py:class", r"morphmlp\.data\..*"),
]
highlight_language = "none"

# Code of the pages that begin with a kernel is run when the site is built. What it gave is kept for as long as the
# package is the same.
_digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCE.rglob("*.py")))).hexdigest()
nb_execution_mode = "cache"
nb_execution_cache_path = str(DOCS / "_build" / "cells" / _digest[:16])
nb_execution_in_temp = True
nb_execution_timeout = 900
nb_execution_raise_on_error = True

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "inherited-members": "Module,Config"}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
default_role = "code"

html_theme = "furo"
html_show_copyright = False
html_title = f"morphmlp {release}"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

linkcheck_anchors = False
linkcheck_ignore = [r"http://127\.0\.0\.1"]  # of the endpoint that the reader starts
linkcheck_timeout = 20


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """The place in the pages of the source, which `_ext/repository.py` makes."""
    from repository import address_of_object

    return address_of_object(info["module"], info["fullname"]) if domain == "py" else None
