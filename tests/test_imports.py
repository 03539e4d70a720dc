"""Imports point one way, and `import morphmlp` costs nothing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import morphmlp

SOURCE = Path(morphmlp.__file__).parent
MODULES = sorted(".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in SOURCE.rglob("*.py"))
MODULES = [
    name.removesuffix(".__init__") for name in MODULES if name not in ("__init__", "data.__init__", "commands.__init__")
]
VERBS = [name for name in MODULES if name.startswith("commands.") and name != "commands.parsing"]

# A module imports from the lines above its own only.
ORDER = [
    ["errors"],
    ["files", "formatting", "paper", "distributed", "allocator", "memory"],
    ["config.base"],
    ["config.data", "config.model"],
    ["config.inputs"],
    ["config.run"],
    ["config"],
    ["data.images", "data.flips", "data.sampling", "data.samplers", "data.synthetic", "data.transforms"],
    ["data.sources", "data.rand_augment"],
    ["data.frame_folders", "data.labelled", "data.list_rows", "data.augment"],
    ["data.decode", "data.lists", "data.shards", "data.splits", "data.mask_transforms"],
    ["data.datasets"],
    ["data.masks"],
    ["data.loaders"],
    ["data.mask_loaders"],
    ["layers"],
    ["ablations"],
    ["model", "sync_norm"],
    ["resnet", "segmentation", "inference"],
    ["zoo"],
    ["checkpoints", "timm_models"],
    ["inflation", "tasks", "optim", "efficiency", "runs", "console", "environment"],
    ["trackers", "training_state", "timing", "torchvision_models"],
    ["recipes"],
    ["figures", "tables", "finetune"],
    ["check_files"],
    ["check_inventory"],
    ["check_report"],
    ["check_tables", "check_data"],
    ["overlays", "paper_tables", "report", "evaluate"],
    ["classification", "predict", "segment", "visualize"],
    ["mask_evaluation", "visualize_figures", "augment_sheet"],
    ["segmentation_task"],
    ["visualize_report"],
    ["learner"],
    ["trainer"],
    ["train", "ablate", "export"],
    ["bench_candidates"],
    ["bench"],
    ["bench_report"],
    ["ablation_report"],
    ["demo", "app"],
    ["commands.parsing"],
    VERBS,
    ["cli"],
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
MODEL_SIDE = {"layers", "model", "segmentation", "ablations", "resnet", "zoo", "checkpoints"}


def imported(module: str) -> Iterator[str]:
    """Our modules that a module imports, inside its functions too; imports for type checkers alone are left out."""
    path = SOURCE / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _nodes_that_run(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "morphmlp":
            for name in node.names:
                inside = f"{node.module}.{name.name}".removeprefix("morphmlp.")
                yield inside if inside in MODULES else str(node.module).removeprefix("morphmlp.")
        if isinstance(node, ast.Import):
            yield from (n.name.removeprefix("morphmlp.") for n in node.names if n.name.startswith("morphmlp."))
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{module} imports relatively"


def _nodes_that_run(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _nodes_that_run(child)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str):
    assert module in LEVEL, f"give {module} its place in ORDER"
    wrong = [name for name in imported(module) if LEVEL.get(name, len(ORDER)) >= LEVEL[module]]
    assert not wrong, f"{module} imports {wrong}"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("data.")])
def test_data_never_imports_the_model(module: str):
    assert not MODEL_SIDE & set(imported(module))


@pytest.mark.parametrize("module", ["errors", "files", *(name for name in MODULES if name.startswith("config"))])
def test_foundations_import_nothing_of_ours_but_the_errors(module: str):
    assert {name for name in imported(module) if not name.startswith("config.")} <= {"errors"}


def test_an_import_is_found_wherever_it_stands():
    found = set(imported("commands.train"))
    assert {"config", "errors", "train", "recipes"} <= found  # the last two stand inside functions


def test_importing_the_package_or_the_command_line_loads_neither_torch_nor_av():
    script = (
        "import sys\n"
        "import morphmlp, morphmlp.cli\n"
        "assert 'create_model' in dir(morphmlp)\n"
        "assert not {'torch', 'av'} & set(sys.modules)\n"
    )
    process = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr


def test_every_public_name_can_be_imported():
    for name in morphmlp.__all__:
        assert getattr(morphmlp, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = morphmlp.nonsense
