"""Imports point one way, room by room, and `import morphmlp` costs nothing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import morphmlp

SOURCE = Path(morphmlp.__file__).parent

# Each room imports from itself and from the lines above its own only.
ORDER = [
    ["errors", "formatting", "distributed", "system", "interrupt"],
    ["signals"],
    ["config", "files", "output"],
    ["models", "data", "display", "recipes"],
    ["inference", "checkpoints"],
    ["export", "timm_models"],
    ["tasks"],
    ["training", ""],
    ["analysis", "demo", "serving", "sharing"],
    ["commands"],
    ["cli"],
    ["__main__"],
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
# Within a room that is a way, the folders in its order; a task may not know another.
WAYS = {"data": ["media", "sets", "clips", "batches"]}


def module_name(path: Path, source: Path = SOURCE) -> str:
    return ".".join(path.relative_to(source).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


MODULES = sorted(module_name(path) for path in SOURCE.rglob("*.py"))


def room_of(module: str) -> str:
    return module.split(".")[0]


def imported(path: Path) -> Iterator[str]:
    """Our modules that a file imports, inside its functions too; imports for type checkers alone are left out."""
    for node in _nodes_that_run(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            if (node.module or "").split(".")[0] == "morphmlp":
                for name in node.names:
                    inside = f"{node.module}.{name.name}".removeprefix("morphmlp.")
                    yield inside if inside in MODULES else str(node.module).removeprefix("morphmlp").removeprefix(".")
        if isinstance(node, ast.Import):
            yield from (n.name.removeprefix("morphmlp.") for n in node.names if n.name.startswith("morphmlp."))


def _nodes_that_run(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _nodes_that_run(child)


def wrong_imports(module: str, names: Iterator[str] | list[str]) -> list[str]:
    """What a module may not import: a room that is not above its own, or a folder ahead of it on the room's way."""
    return [name for name in names if not _allowed(module, name)]


def _allowed(module: str, name: str) -> bool:
    here, there = room_of(module), room_of(name)
    if here != there:
        return LEVEL.get(there, len(ORDER)) < LEVEL[here]
    if here == "tasks" and module != "tasks.registry":
        return folder_of(name) in ("", folder_of(module))
    order = WAYS.get(here, [])
    folders = [folder_of(module), folder_of(name)]
    if all(folder in order for folder in folders):
        return order.index(folders[1]) <= order.index(folders[0])
    return True


def folder_of(module: str) -> str:
    """The folder of a module within its room: "media" of `data.media.video`, "" of `tasks.task`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (SOURCE / parts[0] / parts[1]).is_dir() else ""


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str):
    assert room_of(module) in LEVEL, f"give {room_of(module)} its place in ORDER"
    path = SOURCE / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    assert not (wrong := wrong_imports(module, imported(path))), f"{module} imports {wrong}"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("data.media.video", "models.stem"),  # two rooms of one line
        ("models.stem", "tasks.task"),  # a room below
        ("data.media.video", "data.sets.read"),  # ahead on the way of a clip
        ("tasks.segmentation.training", "tasks.classification.prediction"),  # one task from another
        ("config.model", "data.sets.class_names"),
    ],
)
def test_a_broken_rule_is_found(module: str, name: str):
    assert wrong_imports(module, [name]) == [name]
    assert not wrong_imports(module, [module, "errors"])


def test_an_import_is_found_wherever_it_is():
    found = set(imported(SOURCE / "commands" / "train.py"))
    assert {"config", "errors", "recipes"} <= found  # the last one is inside a function


@pytest.mark.parametrize("room", ["models", "tasks", "training", "analysis", "display", "inference", "checkpoints"])
def test_a_room_imports_nothing_by_itself(room: str):
    files = [SOURCE / room / "__init__.py", *(SOURCE / room).glob("*/__init__.py")]
    assert not [path for path in files if list(imported(path))]


def test_importing_the_package_or_the_command_line_loads_neither_torch_nor_av():
    script = (
        "import sys\n"
        "import morphmlp, morphmlp.cli, morphmlp.tasks.registry\n"
        "assert 'create_model' in dir(morphmlp)\n"
        "assert not {'torch', 'av'} & set(sys.modules)\n"
    )
    process = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_every_public_name_can_be_imported():
    for name in morphmlp.__all__:
        assert getattr(morphmlp, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = morphmlp.nonsense


def test_the_public_places_of_sampling_and_decoding_stay():
    from morphmlp.data.clips.sampling import dense_indices, sparse_indices
    from morphmlp.data.media.video import read_frames

    assert morphmlp.data.sampling.dense_indices is dense_indices
    assert sparse_indices(4, frames=2) == [0, 2]
    assert read_frames.__module__ == "morphmlp.data.media.video"
