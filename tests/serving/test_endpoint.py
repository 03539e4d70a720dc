"""What the endpoints answer, beside what the bare `Predictor` says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from served import Running, running

from morphmlp.checkpoints.folder import CheckpointInfo, save
from morphmlp.data.media.video import probe
from morphmlp.models.morphmlp import MorphMLP


def test_a_file_is_answered_as_by_the_predictor(served: Running, video: Path):
    expected = served.predictor(video)
    (result,) = served.post("/predict", video, top=3).json()["results"]
    assert result == {
        "file": video.name,
        "answer": expected.answer,
        "top": [{"label": label, "probability": round(share, 6)} for label, share in expected.top(3)],
        "duration_s": round(probe(video).duration_s, 6),
    }


def test_the_body_itself_is_a_file_and_has_the_name_that_is_given(served: Running, video: Path):
    form = served.post("/predict", video).json()["results"]
    for kind in ("application/octet-stream", "video/mp4", "application/x-www-form-urlencoded"):
        raw = served.client.post(
            "/predict", content=video.read_bytes(), params={"name": video.name}, headers={"content-type": kind}
        )
        assert raw.json()["results"] == form
    assert served.client.post("/predict", content=video.read_bytes()).json()["results"][0]["file"] == "upload"


def test_several_files_are_answered_in_their_order_and_a_broken_one_costs_no_other(
    served: Running, data: Path, tmp_path: Path
):
    videos = sorted((data / "val").rglob("*.mp4"))[:4]
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(videos[0].read_bytes()[:500])
    answer = served.post("/predict", *videos[:2], broken, *videos[2:])
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["file"] for result in results] == [
        *(v.name for v in videos[:2]),
        "broken.mp4",
        *(v.name for v in videos[2:]),
    ]
    assert set(results[2]) == {"file", "error"}
    good = [result["answer"] for result in results if "answer" in result]
    assert good == [served.predictor(video).answer for video in videos]
    assert served.post("/predict", broken, broken).status_code == 422


def test_windows_are_those_of_the_predictor_and_come_as_one_value_or_as_lines(served: Running, video: Path):
    expected = list(served.predictor.windows(video, length_s=0.5, step_s=0.2))
    options = {"length_s": 0.5, "step_s": 0.2, "top": 2}
    answer = served.post("/windows", video, **options).json()
    assert [(w["start"], w["end"], w["answer"]) for w in answer["windows"]] == [
        (round(w.start_s, 6), round(w.end_s, 6), w.answer) for w in expected
    ]
    for row, window in zip(answer["windows"], expected, strict=True):
        assert [entry["label"] for entry in row["top"]] == [label for label, _ in window.top(2)]
        np.testing.assert_allclose([e["probability"] for e in row["top"]], [p for _, p in window.top(2)], atol=1e-5)
    lines = served.client.post(
        "/windows", content=video.read_bytes(), params=options, headers={"accept": "application/x-ndjson"}
    )
    head, *windows, tail = [json.loads(line) for line in lines.text.splitlines()]
    assert head == {"file": "upload", "duration_s": answer["duration_s"]}
    assert windows == answer["windows"]
    assert tail == {"segments": answer["segments"]}
    assert answer["segments"][0]["start"] == 0


def test_pictures_of_what_the_model_saw_and_where_it_looked_come_with_the_answer(served: Running, video: Path):
    (result,) = served.post("/predict", video, strip=True, look=True).json()["results"]
    assert result["strip"].startswith("data:image/jpeg;base64,")
    assert result["look"].startswith("data:image/jpeg;base64,")
    assert result["look"] != result["strip"]
    (window, *_) = served.post("/windows", video, thumbnails=True).json()["windows"]
    assert window["thumbnail"].startswith("data:image/jpeg;base64,")


def test_a_file_keeps_its_place_in_memory_until_its_pictures_are_made(
    served: Running, video: Path, monkeypatch: pytest.MonkeyPatch
):
    places, free = served.service._in_memory, []
    monkeypatch.setattr(served.service.looker, "look", lambda *_: free.append(places._value))
    assert served.post("/predict", video, look=True).json()["results"][0]["look"] is None
    assert free == [places._value - 1]


def test_the_labels_and_what_a_client_needs_to_know_are_told(served: Running):
    described = served.client.get("/labels").json()
    assert described["labels"] == served.predictor.labels
    assert described["kind"] == "video"
    assert described["windows"] == {"length_s": 2.0, "step_s": 1.0}
    assert described["shows_where_it_looked"] is True
    assert served.client.get("/health").json() == {"status": "alive"}


def test_an_image_model_takes_images_and_has_no_windows(image_checkpoint: Path, tmp_path: Path, video: Path):
    image = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)).save(image)
    with running(image_checkpoint, tmp_path / "uploads") as served:
        (result,) = served.post("/predict", image, strip=True, look=True).json()["results"]
        assert result["answer"] == served.predictor(image).answer
        assert "duration_s" not in result
        assert (
            served.client.post("/predict", content=image.read_bytes()).json()["results"][0]["answer"]
            == result["answer"]
        )
        for refused in (served.post("/predict", video), served.client.post("/predict", content=video.read_bytes())):
            assert refused.status_code == 422
            assert "but the checkpoint takes images" in refused.json()["error"]
        assert served.post("/windows", image).json()["error"].startswith("the checkpoint takes images")


def test_ten_thousand_labels_are_told_and_the_best_are_answered(tmp_path: Path, video: Path):
    labels = [f"class {i}" for i in range(10_000)]
    model = MorphMLP(tiny.model_config(len(labels)))
    save(model, tmp_path / "many", CheckpointInfo(input=tiny.INPUT, labels=labels))
    with running(tmp_path / "many", tmp_path / "uploads") as served:
        assert served.client.get("/labels").json()["labels"] == labels
        (result,) = served.post("/predict", video, top=10_000).json()["results"]
        assert len(result["top"]) == 10_000
        assert len(served.post("/windows", video).json()["windows"]) == 1


def test_the_openapi_document_has_every_path_with_its_bodies_and_examples(served: Running):
    document = served.client.get("/openapi.json").json()
    assert set(document["paths"]) == {"/predict", "/windows", "/labels", "/health", "/ready", "/metrics"}
    for path in ("/predict", "/windows"):
        operation = document["paths"][path]["post"]
        assert set(operation["requestBody"]["content"]) == {"multipart/form-data", "application/octet-stream"}
        assert {"200", "401", "408", "413", "422", "429", "503", "507"} <= set(operation["responses"])
        for response in operation["responses"].values():
            assert all("example" in content for content in response["content"].values())


def test_the_example_of_an_answer_has_the_fields_of_an_answer(served: Running, video: Path):
    document = served.client.get("/openapi.json").json()
    for path, options in (("/predict", {}), ("/windows", {})):
        example = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["example"]
        answer = served.post(path, video, **options).json()
        assert set(example) == set(answer)
    example = document["paths"]["/labels"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    assert set(example) == set(served.client.get("/labels").json())


def test_prometheus_reads_what_was_counted(served: Running, video: Path):
    served.post("/predict", video)
    answer = served.client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    sample = re.compile(r'^morphmlp_\w+(\{\w+="[^"\\]*"(,\w+="[^"\\]*")*\})? -?[0-9.e+-]+$')
    lines = answer.text.splitlines()
    assert all(line.startswith(("# HELP ", "# TYPE ")) or sample.match(line) for line in lines)
    count = next(line for line in lines if line.startswith('morphmlp_requests_total{path="/predict",status="200"}'))
    assert int(count.split()[-1]) >= 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/predict", 405), ("GET", "/nothing", 404), ("GET", "/docs", 404), ("POST", "/predict/", 404)],
)
def test_a_wrong_path_or_method_is_one_line_too(served: Running, method: str, path: str, status: int):
    answer = served.client.request(method, path)
    assert answer.status_code == status
    assert "/openapi.json" in answer.json()["error"]
    assert answer.headers.get("allow") == ("POST" if status == 405 else None)


def test_every_answer_forbids_the_browser_what_the_page_does_not_need(served: Running):
    for path in ("/", "/labels", "/nothing"):
        headers = served.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in served.client.get("/").headers["content-security-policy"]


def test_the_page_names_no_foreign_address(served: Running):
    page = served.client.get("/").text
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", page) == []
    assert "SCRIPT */" not in page
