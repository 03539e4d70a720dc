"""Code and development commands in documents name what there is: modules, functions, options, tests, targets."""

import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_docs import NOTEBOOKS, PAGES, ROOT, cells, text_of

import morphmlp
from morphmlp.config import ModelConfig


def python_of(path: Path) -> list[str]:
    """The Python of a page or a notebook; cells of commands are none."""
    if path.suffix == ".ipynb":
        code = ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code"]
    else:
        code = re.findall(r"^```(?:python|\{code-cell\})\n(?::.*\n)*(.*?)^```", text_of(path), re.DOTALL | re.MULTILINE)
    return [each for each in code if not each.startswith("%%")]


SKETCHES = ROOT / "CONTRIBUTING.md"  # parts of files that are to be written
CODE = [(path, code) for path in [*PAGES, *NOTEBOOKS] if path != SKETCHES for code in python_of(path)]


def wrong_names(code: str) -> Iterator[str]:
    """What a piece of Python takes from our modules that they do not have, or hands on under a name that is none."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("morphmlp"):
            module = importlib.import_module(str(node.module))
            yield from (f"{node.module}.{alias.name}" for alias in node.names if not hasattr(module, alias.name))
        elif isinstance(node, ast.Attribute) and _is_package(node.value) and not hasattr(morphmlp, node.attr):
            yield f"morphmlp.{node.attr}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            takes = _parameters(node.func)
            yield from (f"{node.func.attr}({each.arg}=)" for each in node.keywords if takes and each.arg not in takes)


def _is_package(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "morphmlp"


def _parameters(function: ast.Attribute) -> set[str]:
    """The parameters of a public function, or of a method of the predictor; none where it is something else."""
    owners: dict[str, Any] = {"morphmlp": morphmlp, "predict": morphmlp.Predictor}
    owner = owners.get(function.value.id) if isinstance(function.value, ast.Name) else None
    found = getattr(owner, function.attr, None)
    if not found:
        return set()
    takes = inspect.signature(found).parameters
    any_field = any(each.kind is each.VAR_KEYWORD for each in takes.values())  # of a model's configuration
    return {*takes, *(ModelConfig.__dataclass_fields__ if any_field else ())}


@pytest.mark.parametrize(("path", "code"), CODE, ids=lambda value: value.name if isinstance(value, Path) else "")
def test_python_takes_only_what_there_is(path: Path, code: str):
    assert [*wrong_names(code)] == []


def test_a_wrong_name_in_python_is_found():
    code = "import morphmlp\nfrom morphmlp.errors import Nope\nmorphmlp.lod('x')\nmorphmlp.optimize(m, dtyp='bf16')\n"
    code += "morphmlp.create_model('x', fames=8)\n"
    wrong = ["create_model(fames=)", "morphmlp.errors.Nope", "morphmlp.lod", "optimize(dtyp=)"]
    assert sorted(wrong_names(code)) == wrong
    found = {path.name for path, _ in CODE}
    assert found >= {"README.md", "watch.md", "first_model.md", "deploy.ipynb", "train_evaluate_look.ipynb"}


def shown(program: str) -> list[tuple[Path, list[str]]]:
    """The arguments of a program where documents show it, in a block or between backticks."""
    pattern = rf"(?:^|`)(?:\$ )?{program} ([^`\n]+)"
    found = [(path, text) for path in PAGES for text in re.findall(pattern, text_of(path), flags=re.MULTILINE)]
    return [(path, shlex.split(text, comments=True)) for path, text in found]


@pytest.mark.parametrize("words", [words for _, words in shown("pytest")], ids=" ".join)
def test_a_command_of_pytest_chooses_tests_that_there_are(words: list[str]):
    paths = [ROOT / word for word in words if word.startswith("tests")]
    assert paths
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("test_*.py"))]
    names = " ".join(re.findall(r"^def (test_\w+)", "\n".join(map(text_of, files)), flags=re.MULTILINE))
    assert names
    if "-k" in words:
        wanted = {*re.findall(r"\w+", words[words.index("-k") + 1])} - {"and", "or", "not"}
        assert [word for word in wanted if word not in names] == []


@pytest.mark.parametrize("words", [words for _, words in shown("python") if "/" in words[0]], ids=" ".join)
def test_a_script_that_is_shown_is_there_with_its_options(words: list[str]):
    text = (ROOT / words[0]).read_text(encoding="utf-8")
    options = [word.partition("=")[0].removeprefix("--") for word in words if word.startswith("--")]
    assert [option for option in options if not re.search(rf"\b{option.replace('-', '_')}\b", text)] == []


def test_targets_of_make_are_there():
    targets = set(re.findall(r"^(\w[\w-]*):", text_of(ROOT / "Makefile"), flags=re.MULTILINE))
    named = {word for path, words in shown("make") if path.name in ("README.md", "CONTRIBUTING.md") for word in words}
    assert len(named) > 5
    assert sorted(named - targets) == []


def test_source_that_a_page_includes_is_there():
    pattern = r"^```\{literalinclude\} (\S+)\n(?::.*\n)*?:pyobject: (\S+)$"
    found = [(path, *part) for path in PAGES for part in re.findall(pattern, text_of(path), flags=re.MULTILINE)]
    assert len(found) > 5
    assert [name for path, file, name in found if name not in objects_of(path.parent / file)] == []


def objects_of(file: Path) -> set[str]:
    """The functions and classes of a module, and the methods as `Class.method`."""
    tree = ast.parse(text_of(file))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    methods = {f"{one.name}.{node.name}" for one in classes for node in one.body if isinstance(node, ast.FunctionDef)}
    return methods | {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
