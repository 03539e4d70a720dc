"""The documents name what there is: commands with their options, pages, files. `make docs` builds the manual itself."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from itertools import takewhile
from pathlib import Path

import pytest
import tiny
from links import with_others
from parsers import options_of, parser_of, section

from morphmlp.cli import VERBS, _with_underscores
from morphmlp.errors import UserError
from morphmlp.recipes import load_recipe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG"))]
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
BEFORE = r"(?:\$ |#   |[^|`\n]+ \| )?"  # a prompt, a comment of the Dockerfile, what is piped into it
PROGRAM = r"(?:morphmlp|docker run [^\n]*? morphmlp|(?:srun )?torchrun [^\n]*?-m morphmlp(?:\.cli)?)"


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def text_of(path: Path) -> str:
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    return "\n\n".join("".join(cell["source"]) for cell in cells(path))


def commands_of(text: str) -> list[list[str]]:
    """The arguments of the commands that a text shows, each on a line of its own, which `\\` continues.

    >>> commands_of("x\\nmorphmlp models --json | jq .  # all\\ncat x | morphmlp watch a -\\n`morphmlp table 1`")
    [['models', '--json'], ['watch', 'a', '-']]
    """
    text = re.sub(r"\\\n\s*", " ", text)
    found = []
    for line in text.splitlines():
        if match := re.match(rf"\s*{BEFORE}{PROGRAM} (?=[\w\"])(.*)", line):
            words = shlex.split(match[1], comments=True)
            found.append([*takewhile(lambda word: word not in ("|", ">", "<", "&&", ";", "&"), words)])
    return found


SHOWN = [(path, words) for path in [*PAGES, *NOTEBOOKS, ROOT / "Dockerfile"] for words in commands_of(text_of(path))]
EXAMPLES = [(Path(verb), words) for verb in VERBS for words in commands_of(str(parser_of(verb).epilog))]


@pytest.mark.parametrize(
    ("path", "words"), [*SHOWN, *EXAMPLES], ids=lambda value: value.name if isinstance(value, Path) else " ".join(value)
)
def test_a_command_that_is_shown_has_only_arguments_that_there_are(path: Path, words: list[str]):
    assert words[0] in {*VERBS, "VERB", "--version", "--help"}
    if words[0] in VERBS:
        assert complaint(words) == ""


def complaint(words: list[str]) -> str:
    """What the parser of a verb says of a command that is wrong; "" if it is right. Nothing is run."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as told:
        try:
            arguments = [*without_files_and_variables(words[1:])]
            parser_of(words[0], tuple(arguments)).parse_args(arguments)
        except SystemExit as stop:  # also of `--print_config`, but without an error
            return told.getvalue() if stop.code else ""
    return ""


def test_a_wrong_command_is_found_out():
    assert complaint(["predict", "best", "a.mp4", "--top", "3"]) == ""
    assert "no option --tip; did you mean --top?" in complaint(["predict", "best", "a.mp4", "--tip", "3"])
    assert "--top: got 0" in complaint(["predict", "best", "a.mp4", "--top", "0"])
    assert "paths" in complaint(["predict", "best"])
    with pytest.raises(UserError, match="k400_s17"):
        complaint(["train", "videos", "--out", "run", "--recipe", "k400_s17"])


def without_files_and_variables(words: list[str]) -> Iterator[str]:
    """The arguments without configuration files, which are not there, and what a shell would put in; recipes are read.

    >>> list(without_files_and_variables(["--config", "mine.yaml", "--batch-size", "8", "$start", "a"]))
    ['--batch_size', '8', 'a']
    """
    words = iter(_with_underscores(words))
    for word in words:
        if word == "--config":
            next(words)
        elif word == "$start":  # of the job for SLURM: options
            continue
        elif word == "--recipe":
            recipe = next(words)
            if not (recipe.isupper() or recipe.endswith(".yaml")):
                load_recipe(recipe)
            yield from (word, recipe)
        else:
            yield word


def test_commands_are_found_in_every_kind_of_block():
    found = {path.name: sum(1 for other, _ in SHOWN if other == path) for path, _ in SHOWN}
    assert found["README.md"] > 25  # with comments after them, and torchrun before them
    assert found["data.md"] >= 3  # indented
    assert found["first_model.md"] >= 6  # in cells
    assert found["train_evaluate_look.ipynb"] >= 4
    assert found["deploy.ipynb"] >= 3
    assert found["training.md"] >= 4  # continued
    assert found["shelf.md"] >= 7  # after a pipe, and after srun
    assert len(EXAMPLES) >= len(VERBS)


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: path.name)
def test_verbs_and_options_in_a_sentence_are_there(path: Path):
    text = re.sub(r"```.*?```", "", text_of(path), flags=re.DOTALL)
    for span in re.findall(r"`morphmlp ([^`\n]+)`", text):
        verb, *words = span.split()
        if verb in VERBS:
            known = {"--help", "--help_all", *parser_of(verb)._option_string_actions}
            options = [word.partition("=")[0] for word in _with_underscores(words) if word.startswith("--")]
            assert [option for option in options if option not in known and not option.startswith("--arch.")] == []
        else:
            assert verb in ("VERB", "--help", "--version"), span


def test_every_page_is_in_the_index():
    pages = [path.stem for path in DOCS.glob("*.md") if path.stem != "index"]
    pages += [f"notebooks/{path.stem}" for path in NOTEBOOKS]
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"```\{toctree\}\n(.*?)```", text, flags=re.DOTALL)
    named = [line for tree in trees for line in tree.splitlines() if not line.startswith((":", "(others)")) and line]
    assert sorted(set(named) - set(pages)) == []
    assert text.count("(others)") == 1
    shown = with_others(text, [page for page in pages if "/" not in page]).splitlines()
    assert [page for page in pages if shown.count(page) != 1] == []


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: path.name)
def test_a_link_leads_to_a_file_and_to_a_heading_in_it(path: Path):
    for name, anchor in re.findall(r"\]\((?!\w+:)([^()\s#]*)(?:#([^()\s]+))?\)", text_of(path)):
        target = path.parent / name if name else path
        assert target.exists(), name
        assert not anchor or anchor in anchors_of(target), f"{name}#{anchor}"


def anchors_of(path: Path) -> list[str]:
    """What headings are linked by: GitHub and myst make the same of them."""
    text = re.sub(r"```.*?```", "", text_of(path), flags=re.DOTALL)
    headings = re.findall(r"^#{1,3} (.*)$", text, flags=re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_a_heading_is_linked_by_its_words():
    assert "unequal-classes" in anchors_of(DOCS / "few_clips.md")
    assert "which-parameter-of-the-released-configuration-is-the-chunk-length-l" in anchors_of(DOCS / "faq.md")


def test_all_verbs_and_options_are_on_the_page_of_commands():
    page = "\n".join(section(verb, summary) for verb, summary in VERBS.items())
    assert re.findall(r"^## morphmlp (\S+)$", page, flags=re.MULTILINE) == list(VERBS)
    for verb, summary in VERBS.items():
        told = options_in_help(verb)
        listed = re.findall(r"^````\{option\} (.*)", section(verb, summary), flags=re.MULTILINE)
        assert told
        assert sorted(told) == sorted(name for names in listed for name in re.findall(r"--[\w.]+", names))


def options_in_help(verb: str) -> list[str]:
    """The options that `--help` tells, or `--help-all`, without those two, and without groups as one value."""
    text = tiny.run_command(verb, "--help-all" if parser_of(verb).first_screen else "--help").stdout
    told = re.findall(r"^  (?:-\w, )?(--[\w.-]+)(?!.*\n? *Path to a configuration file)", text, flags=re.MULTILINE)
    return [name for name in told if name not in ("--help", "--help-all")]


def test_every_extra_is_on_the_page_of_the_installation():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (DOCS / "install.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)`", "\n".join(line for line in text.splitlines() if line.startswith("| `")))
    assert sorted(set(project["optional-dependencies"]) - set(named)) == []
    for path in [*PAGES, *NOTEBOOKS]:
        asked = {name for names in re.findall(r"morphmlp\[([\w,]+)\]", text_of(path)) for name in names.split(",")}
        assert asked <= set(project["optional-dependencies"]), path.name


def test_an_option_is_told_with_its_type_and_default():
    options = {name: option for _, group in options_of("train") for option in group for name in option.names}
    assert options["--epochs"].text == "passes over the training videos. (type: int, default: 30)"
    assert options["--precision"].value == "{fp32,bf16,fp16,auto}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_what_its_cells_gave(path: Path):
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert code
    assert [cell["source"] for cell in code if cell["outputs"] or cell["execution_count"]] == []
    assert json.loads(path.read_text(encoding="utf-8"))["nbformat"] == 4
