"""The page of an evaluation: one file that says all, whatever the names, the kind and the number of the samples."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import chromium, opened_file
from PIL import Image

from morphmlp.config import SplitConfig
from morphmlp.data.media.sources import Source
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.read import read_training_sets
from morphmlp.tasks.classification.evaluation import Evaluation, SamplePrediction
from morphmlp.tasks.classification.report import summary, write_evaluation
from morphmlp.tasks.classification.review.review import review_of


def predicted(samples: Sequence[Sample], labels: list[str], *, share_right: float, unit: str = "videos") -> Evaluation:
    """An evaluation that is right on the first samples, with made-up probabilities."""
    generator = np.random.default_rng(0)
    predictions = []
    for number, sample in enumerate(samples):
        winner = sample.label if number < share_right * len(samples) else (sample.label + 1) % len(labels)
        probabilities = generator.dirichlet(np.ones(len(labels)))
        probabilities[winner] += 1
        predictions.append(SamplePrediction(sample.path, sample.label, probabilities / probabilities.sum()))
    return Evaluation(labels, predictions, unit=unit)


def written(evaluation: Evaluation, train: LabelledSet | None, folder: Path) -> str:
    """The page of an evaluation."""
    review = review_of(
        evaluation,
        checkpoint="runs/mine/best",
        data="my_videos",
        split=SplitConfig(),
        train=train,
        why_alone="" if train else "there is no training part",
        workers=0,
    )
    folder.mkdir(exist_ok=True)
    write_evaluation(replace(evaluation, review=review), folder)
    return (folder / "index.html").read_text()


@pytest.fixture(scope="module")
def page(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the rendered videos, one of which is in training, too; six of ten are right, and one is broken."""
    folder = tmp_path_factory.mktemp("page")
    train, val = read_training_sets(data)
    copy = shutil.copyfile(train.samples[0].path, folder / "copy.mp4")
    evaluation = predicted(
        [Sample(copy, train.samples[0].label), *val.samples[1:]], list(train.classes), share_right=0.6
    )
    broken = replace(evaluation, broken=[(Path("odd/<b>.mp4"), "cannot be opened as a video")])
    written(broken, train, folder / "out")
    return folder / "out" / "index.html"


def test_the_page_says_all_of_it(page: Path):
    text = page.read_text()
    assert "10 of 11 videos of my_videos, 10 classes." in text
    for words in (
        "60.0%<small>30.0% to 90.0%</small>",  # of ten videos
        "by a bootstrap over 10 videos",
        "shrunk pixels (8 frames of 16 x 16 px",
        "the commonest class (approaching_the_camera)",
        "All classes, the lowest F1 first",
        "taken for",
        "expected calibration error, 15 bins",
        "confident learning",
        "1 has one. Without them, top-1 is 55.6% of 9.",
        "odd/&lt;b&gt;.mp4: cannot be opened as a video",
    ):
        assert words in text
    assert len(text) < 3_000_000
    assert not re.search(r"<script|https?://", text)
    assert all("alt='" in tag for tag in re.findall(r"<img[^>]*>", text))


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def test_the_page_works_offline_by_the_keyboard_and_on_narrow_screens(page: Path, browser):
    for width, scheme in ((1280, "light"), (390, "dark")):
        with opened_file(browser, page, width=width, color_scheme=scheme) as shown:
            assert shown.evaluate("document.documentElement.scrollWidth") <= width
            pictures = "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
            assert shown.evaluate(pictures)
            background = shown.evaluate("getComputedStyle(document.body).backgroundColor")
            assert background == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(15, 18, 22)")
            shown.keyboard.press("Tab")
            assert shown.evaluate("document.activeElement.textContent") == "Compared with simple means"
            unread = shown.locator("#unread summary")
            assert not shown.locator("#unread ul").is_visible()
            unread.focus()
            shown.keyboard.press("Enter")
            assert shown.locator("#unread ul").is_visible()
            shown.locator(".wide").first.focus()  # moves sideways by the arrow keys
            assert shown.evaluate("document.activeElement.getAttribute('role')") == "region"


def test_names_are_shown_as_they_are_and_steer_nothing(data: Path, tmp_path: Path):
    videos = sorted(data.glob("val/*/*.mp4"))[:4]
    labels = ['a <b>&"x"\'', "b\x1b[31m\u202e", "c" * 200]
    evaluation = predicted([Sample(path, number % 3) for number, path in enumerate(videos)], labels, share_right=0.5)
    text = written(evaluation, None, tmp_path / "out")
    assert "a &lt;b&gt;&amp;&quot;x&quot;&#x27;" in text
    assert "b\\x1b[31m\\u202e" in text
    assert "<b>&" not in text
    assert "\x1b" not in text
    assert "Nothing to compare with: there is no training part." in text


def test_of_many_classes_the_worst_are_shown_and_the_others_open(data: Path, tmp_path: Path):
    video = next(data.glob("val/*/*.mp4"))
    labels = [f"class {number}" for number in range(400)]
    samples = [Sample(Stretch(video, number / 1e4, 0.5), number) for number in range(399)]  # one class is missing
    text = written(predicted(samples, labels, share_right=0.9), None, tmp_path / "out")
    assert "1 of 400 classes have no videos here." in text
    assert "The 20 of 400 classes with the lowest F1, the lowest F1 first" in text
    assert "<summary>The other 380 classes</summary>" in text
    assert text.count("<th scope='row'>class ") == 400
    assert len(text) < 3_000_000


def test_noise_does_not_make_the_page_large(tmp_path: Path):
    generator = np.random.default_rng(0)
    samples: list[Sample] = []
    for number in range(24):
        path = tmp_path / f"{number}.png"
        Image.fromarray(generator.integers(0, 256, (200, 1200, 3), dtype=np.uint8)).save(path)
        samples.append(Sample(path, number % 4))
    evaluation = predicted(samples, list("abcd"), share_right=0.3, unit="images")
    text = written(evaluation, LabelledSet(samples[:8], list("abcd"), kind="image"), tmp_path / "out")
    assert len(text) < 3_000_000
    assert "An image of " in text
    assert "class='strips stills'" in text
    assert "shrunk pixels (16 x 16 px" in text


def test_a_file_that_has_gone_is_a_grey_picture(tmp_path: Path):
    sources: list[Source] = [tmp_path / "gone.mp4", tmp_path / "gone too.mp4"]
    evaluation = predicted([Sample(path, 0) for path in sources], ["a", "b"], share_right=0.5)
    assert "gone too.mp4" in written(evaluation, None, tmp_path / "out")


def test_the_summary_has_the_review(data: Path):
    train, val = read_training_sets(data)
    evaluation = predicted(val.samples, list(train.classes), share_right=1)
    review = review_of(
        evaluation, checkpoint="x", data="y", split=SplitConfig(), train=train, pixels=False, why_alone="left out"
    )
    found = summary(replace(evaluation, review=review))["review"]
    assert found["groups"] == 10
    assert found["figures"]["top1"]["value"] == 1.0
    assert found["figures"]["top1"]["interval"] == pytest.approx((0.722, 1.0), abs=0.001)
    assert found["comparisons"]["commonest_class"]["accuracy"] == 0.1
    assert "shrunk_pixels" not in found["comparisons"]
    assert (found["copies"], found["label_errors"], found["why_alone"]) == (None, [], "left out")
