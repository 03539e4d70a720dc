"""A device is taken by its name, found by itself, or refused in one line."""

import pytest
import tiny
import torch

from morphmlp.errors import ConfigError, DataError
from morphmlp.inference.device import autocast, native_precision, resolve_device


def pretend(monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int = 1) -> None:
    """Lets PyTorch find an accelerator that is not here."""
    device = None if kind is None else torch.device(kind)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: device)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("kind", "count", "local_rank", "expected"),
    [
        (None, 0, 0, "cpu"),
        ("cuda", 8, 0, "cuda:0"),
        ("cuda", 8, 3, "cuda:3"),
        ("xpu", 2, 1, "xpu:1"),
        ("mps", 1, 0, "mps:0"),
        ("mtia", 1, 0, "cpu"),  # one that the package is not written for
    ],
)
def test_auto_is_the_accelerator_of_the_process(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int, local_rank: int, expected: str
):
    pretend(monkeypatch, kind, count)
    monkeypatch.setenv("LOCAL_RANK", str(local_rank))
    assert resolve_device("auto") == torch.device(expected)


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps", "xpu", "cuda:1"])
def test_a_device_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch, device: str):
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *_, device: empty(0, device="meta").to("meta") if device else None)
    assert resolve_device(device).type == "meta"  # whatever PyTorch makes of it


@pytest.mark.parametrize("device", ["nonsense", "tpu", "meta", "", "GPU"])
def test_an_unknown_device_is_refused(device: str):
    with pytest.raises(DataError, match=f"device '{device}' is unknown; allowed: auto, cpu, cuda, mps, xpu"):
        resolve_device(device)


@pytest.mark.parametrize(("device", "kind"), [("cuda", None), ("xpu", "cuda"), ("mps", None), ("cuda:99", "cuda")])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch, device: str, kind: str | None
):
    pretend(monkeypatch, kind)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("Torch not compiled with it enabled")

    monkeypatch.setattr(torch, "empty", fail)
    here = "cpu" if kind is None else f"cpu and {kind}"
    with pytest.raises(DataError, match=f"device '{device}' is not there: PyTorch .* finds {here} on this machine"):
        resolve_device(device)


@pytest.mark.parametrize("verb", ["predict", "evaluate", "features", "calibrate", "visualize", "segment", "bench"])
def test_every_verb_refuses_an_unknown_device_in_one_line(verb: str, checkpoint, image_checkpoint, data, tmp_path):
    video = next((data / "val").rglob("*.mp4"))
    arguments = {
        "predict": [checkpoint, video],
        "evaluate": [checkpoint, data],
        "features": [checkpoint, video, "--out", tmp_path / "f"],
        "calibrate": [checkpoint, data],
        "visualize": [checkpoint, video, "--out", tmp_path / "v"],
        "segment": [image_checkpoint, video, "--out", tmp_path / "s"],
        "bench": ["--model", "morphmlp_video_nano"],
    }[verb]
    process = tiny.run_command(verb, *arguments, "--device", "tpu")
    assert process.returncode == 1
    assert len(process.stderr.splitlines()) == 1
    if verb != "segment":  # which looks at the checkpoint first: this one is a classifier
        assert "device 'tpu' is unknown; allowed: auto, cpu, cuda, mps, xpu" in process.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", ["cpu", "mps", "xpu"])
def test_autocast_is_that_of_the_device(kind: str, precision: str):
    context = autocast(torch.device(kind), precision)
    assert (context.device, context.fast_dtype) == (kind, {"bf16": torch.bfloat16, "fp16": torch.float16}[precision])


def test_a_precision_that_a_device_lacks_is_refused():
    with pytest.raises(ConfigError, match="precision bf16 is not for meta devices"):
        autocast(torch.device("meta"), "bf16")


@pytest.mark.parametrize(
    ("processor", "precision"),
    [
        ("intel amx", "bf16"),
        ("amd avx512_bf16", "bf16"),
        ("intel avx512", "fp32"),
        ("amd avx2", "fp32"),
        ("arm64", "fp32"),
        ("x86_64", "fp32"),
    ],
)
def test_a_processor_computes_bf16_natively_or_has_fp32(
    monkeypatch: pytest.MonkeyPatch, processor: str, precision: str
):
    monkeypatch.setattr("morphmlp.inference.device.processor_kind", lambda: processor)
    assert native_precision(torch.device("cpu")) == precision


@pytest.mark.parametrize(("supported", "precision"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_is_asked_for_bf16_of_its_own(monkeypatch: pytest.MonkeyPatch, supported: bool, precision: str):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: supported and not including_emulation
    )
    assert native_precision(torch.device("cuda", 0)) == precision
    assert native_precision(torch.device("mps")) == "fp32"
