"""Every example in a docstring and on the page of the API is run, and every public name has one."""

import doctest
import importlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import morphmlp
from morphmlp.checkpoints.released import _released_name
from morphmlp.demo.synthetic import encode, render_clip

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "morphmlp"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# What these print depends on files and trained models that are not in the repository: they are run on others.
PRINT_OTHERWISE = {
    "analysis.data_check.check.check_data",
    "analysis.insight.look_inside.look_inside",
    "data.media.images.read_image",
    "data.media.video.probe",
    "data.media.video.read_clip",
    "data.media.video.read_frames",
    "tasks.classification.features.extractor.FeatureExtractor",
    "tasks.classification.predictor.Predictor",
    "tasks.classification.predictor.Predictor.windows",
    "tasks.segmentation.annotations.read_mask",
    "tasks.segmentation.predictor.SegmentPredictor",
}
NOT_RUN = {"inference.runtimes.load_runtime"}  # it takes an export, which `tests/export` makes and loads


class AnyOutput(doctest.OutputChecker):
    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return True


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(["morphmlp", *parts]).removesuffix(".__init__")


MODULES = [module_name(path) for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
HELPERS = [path.stem for path in (ROOT / "docs" / "_ext").glob("*.py")]


def page() -> doctest.DocTest:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    blocks = re.sub(r"```(?!pycon)", "\n\n", text.replace("```pycon", "\n"))
    return doctest.DocTestParser().get_doctest(blocks, {}, "api.md", "api.md", 0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, data: Path) -> Path:
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    for run in ("runs/demo/run/best", "runs/mine/best"):
        shutil.copytree(checkpoint, folder / run)
    segmenter = morphmlp.create_segmenter("morphmlp_image_nano", num_classes=11, decoder_width=8)
    for run in ("runs/camvid/best", "runs/masks/best"):
        info = morphmlp.CheckpointInfo(input=morphmlp.InputConfig(crop=(64, 64), resize=64, fit="whole"))
        (folder / run).parent.mkdir(parents=True)
        morphmlp.save(segmenter, folder / run, info)
    for run in ("runs/mine", "runs/masks"):
        (folder / run / "config.json").write_text('{"data": "", "model": {}, "train": {"report": "best"}}')
    for name in ("video.mp4", "long.mp4", "juggle.mp4"):
        encode(folder / name, render_clip("moving_up", seed=1, frames=120))
    generator = np.random.default_rng(0)
    for name in ("photograph.jpg", "street.jpg"):
        Image.fromarray(generator.integers(0, 255, (240, 320, 3), np.uint8)).save(folder / name)
    Image.fromarray(generator.integers(0, 12, (240, 320), np.uint8)).save(folder / "0001TP_006690.png")
    shutil.copytree(data / "val", folder / "my_videos")
    torch.manual_seed(0)
    state = morphmlp.create_model("morphmlp_video_nano", num_classes=10).state_dict()
    torch.save(
        {"model_state": {_released_name(name): value for name, value in state.items()}}, folder / "released.pyth"
    )
    return folder


def failures(test: doctest.DocTest, checker: doctest.OutputChecker | None = None) -> str:
    report: list[str] = []
    doctest.DocTestRunner(checker=checker, optionflags=FLAGS).run(test, out=report.append)
    return "".join(report)


@pytest.mark.parametrize("name", [*MODULES, *HELPERS])
def test_examples_of_a_module_print_what_they_say(name: str, place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place)
    tests = doctest.DocTestFinder().find(importlib.import_module(name))
    for test in [test for test in tests if test.name.removeprefix("morphmlp.") not in NOT_RUN]:
        test.globs.update(morphmlp=morphmlp, predict=None)
        if test.name.endswith("Predictor.windows"):
            test.globs["predict"] = morphmlp.Predictor("runs/mine")
        checker = AnyOutput() if test.name.removeprefix("morphmlp.") in PRINT_OTHERWISE else None
        assert failures(test, checker) == ""


def test_what_is_treated_otherwise_is_still_there():
    tests = [test for name in MODULES for test in doctest.DocTestFinder().find(importlib.import_module(name))]
    names = {test.name.removeprefix("morphmlp.") for test in tests if test.examples}
    assert sorted((PRINT_OTHERWISE | NOT_RUN) - names) == []


def test_the_examples_of_the_page_print_what_they_say(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place)
    test = page()
    assert len(test.examples) > 25
    assert failures(test) == ""


@pytest.mark.parametrize("name", morphmlp.__all__)
def test_a_public_name_has_an_example_and_is_on_the_page(name: str):
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert re.search(rf"^\.\. auto\w+:: morphmlp\.{name}$", text, flags=re.MULTILINE)
    examples = [*page().examples]
    if docstring := getattr(morphmlp, name).__doc__:
        examples += doctest.DocTestParser().get_examples(docstring)
    assert any(re.search(rf"\b{name}\b", example.source) for example in examples)
