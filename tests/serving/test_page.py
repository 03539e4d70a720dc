"""The page in a browser: the system's Chromium, which playwright drives and never downloads."""

import os
import re
import shutil
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import Running, running

from morphmlp.demo.synthetic import encode, render_clip

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # a pie chart that turns
_PATIENCE_MS = 60_000  # of an assertion that waits; on a machine that has much to do


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    sync_api.expect.set_options(timeout=_PATIENCE_MS)
    as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_CAMERA, *as_root])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds in which something moves up and then down."""
    clips = [render_clip(name, seed=0) for name in ("moving_up", "moving_down", "moving_up")]
    path = tmp_path_factory.mktemp("recording") / "up & <b>down.mp4"
    encode(path, np.concatenate(clips), key_frame_every=12)
    return path


@contextmanager
def opened(browser: Any, served: Running, *, complaints: int = 0, **options: Any) -> Iterator[Any]:
    """The page; in the end, it has asked no other server, and the browser had no more to complain of than is said."""
    context = browser.new_context(permissions=["camera"], **options)
    page, said, foreign = context.new_page(), [], []
    page.set_default_timeout(_PATIENCE_MS)
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    own = (served.address, "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(own) else foreign.append(request.url))
    page.goto(served.address)
    yield page
    context.close()
    assert foreign == []
    assert len(said) == complaints, said


def expect(locator: Any) -> Any:
    from playwright.sync_api import expect

    return expect(locator)


def test_a_video_is_shown_with_its_classes_where_the_model_looked_and_what_happens_when(
    browser: Any, served: Running, recording: Path
):
    expected = served.predictor(recording)
    with opened(browser, served) as page:
        expect(page.locator("#about")).to_have_text("tiny tells 10 classes in videos.")
        page.set_input_files("#files", recording)
        expect(page.locator("#status")).to_have_text(f"{recording.name} is done.")
        card = page.locator(".result")
        expect(card.locator("h2")).to_have_text(recording.name)  # as text, whatever is in it
        expect(card.locator(".answer")).to_have_text(expected.answer.replace("_", " "))
        shares = [f"{100 * share:.1f}%" for _, share in expected.top(5)]
        expect(card.locator("ol > li > em")).to_have_text(shares)
        pictures = card.locator(".pictures img")
        expect(pictures).to_have_count(2)
        assert all(picture.evaluate("node => node.naturalWidth") > 100 for picture in pictures.all())
        expect(card.locator(".thumbnails img")).to_have_count(5)
        bar = card.locator(".bar").first
        bar.focus()
        expect(card.locator(".moment")).to_have_text(re.compile(r"^[a-z ]+, 0:00 to 0:0\d(\.\d)?, \d+\.\d%$"))
    assert list(served.folder.iterdir()) == []


def test_files_that_are_dropped_are_answered_one_by_one_and_a_broken_one_says_why(
    browser: Any, served: Running, data: Path
):
    video = next((data / "val").rglob("*.mp4"))
    with opened(browser, served, complaints=1) as page:
        expect(page.locator("#about")).to_contain_text("classes")
        files = [["broken.mp4", "AAAA"], [video.name, b64encode(video.read_bytes()).decode()]]
        transfer = page.evaluate_handle(
            """files => {
                const transfer = new DataTransfer();
                for (const [name, text] of files)
                    transfer.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name));
                return transfer;
            }""",
            files,
        )
        page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
        expect(page.locator("#status")).to_have_text(f"{video.name} is done.")
        expect(page.locator(".result")).to_have_count(2)
        expect(page.locator(".result .failed")).to_have_text(re.compile("^cannot be opened as a video"))


def test_the_camera_is_answered_live_and_by_the_keyboard(browser: Any, served: Running):
    with opened(browser, served) as page:
        expect(page.locator("#about")).to_contain_text("classes")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "files"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "camera-button"
        page.keyboard.press("Enter")
        expect(page.locator("#live-result li")).to_have_count(3)
        expect(page.locator("#camera")).to_be_visible()
        page.keyboard.press("Enter")
        expect(page.locator("#camera")).to_be_hidden()
        expect(page.locator("#live-result li")).to_have_count(0)
        assert page.evaluate("document.getElementById('camera').srcObject") is None


def test_a_token_is_asked_for_and_the_limits_of_the_server_are_kept(
    browser: Any, checkpoint: Path, tmp_path: Path, recording: Path
):
    with (
        running(checkpoint, tmp_path / "uploads", token="open-sesame", upload_mb=0.1, windows=3) as served,
        opened(browser, served, complaints=2) as page,
    ):
        expect(page.locator("#access")).to_be_visible()
        expect(page.locator("#drop")).to_be_hidden()
        page.fill("#token", "öffne dich")  # which no header can hold
        page.keyboard.press("Enter")
        assert not page.evaluate("document.getElementById('token').checkValidity()")
        page.fill("#token", "wrong-token")
        page.keyboard.press("Enter")
        expect(page.locator("#access-error")).to_have_text(re.compile("^the token is wrong"))
        page.fill("#token", "open-sesame")
        page.click("#access button")
        expect(page.locator("#drop")).to_be_visible()
        page.set_input_files("#files", recording)
        expect(page.locator("#status")).to_have_text(f"{recording.name} is done.")
        expect(page.locator(".thumbnails img")).to_have_count(3)  # of five windows with the usual step
        large = {"name": "large.mp4", "mimeType": "video/mp4", "buffer": bytes(200_000)}
        page.set_input_files("#files", large)  # is not sent at all
        expect(page.locator(".result .failed")).to_have_text("it has 0.2 MB; the server takes 0.1 MB")


def test_a_page_whose_server_was_away_asks_it_again(browser: Any, served: Running, data: Path):
    video = next((data / "val").rglob("*.mp4"))
    with opened(browser, served, complaints=1) as page:
        page.route("**/labels", lambda route: route.abort())
        page.reload()
        expect(page.locator("#about")).to_have_text("the server cannot be reached; is it running?")
        page.unroute("**/labels")
        page.set_input_files("#files", video)
        expect(page.locator("#status")).to_have_text(f"{video.name} is done.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_narrow_screen_and_is_dark_where_the_reader_is(
    browser: Any, served: Running, recording: Path, scheme: str
):
    with opened(browser, served, viewport={"width": 400, "height": 700}, color_scheme=scheme) as page:
        page.set_input_files("#files", recording)
        expect(page.locator("#status")).to_have_text(f"{recording.name} is done.")
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        colours = page.evaluate(
            "['backgroundColor', 'color'].map(name => getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))"
        )
        background, ink = (sum(colour) / 3 for colour in colours)
        assert (background < ink) == (scheme == "dark")
        assert abs(background - ink) > 150
