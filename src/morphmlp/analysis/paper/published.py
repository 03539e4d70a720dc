"""The paper's published numbers: every row of Tables 1 to 11.

Numbers are as printed, with as many decimals. Where the paper contradicts itself, a row's note says so. A row of
MorphMLP names its model in this package.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

PARAMETERS, GFLOPS, TFLOPS = "params (M)", "GFLOPs", "TFLOPs"  # columns that can be counted
SSV1, IMAGENET, ADE20K = "SSV1 top-1", "ImageNet top-1", "ADE20K mIoU"
SSV_CLASSES = 174


@dataclass(frozen=True)
class Model:
    """One of our models: the arguments of `zoo.model_config(name, **overrides)`, and the height and width in px."""

    name: str
    overrides: dict[str, Any] = field(default_factory=dict)
    size: int = 224


@dataclass(frozen=True)
class PaperRow:
    """A row of a table.

    Attributes:
        name: the method, as printed.
        group: the heading that it is under, if any.
        settings: columns of text, spelt alike in all tables; empty where the paper prints a dash.
        published: columns of numbers, as printed; those that the paper leaves out are missing.
        models: our models of this row; none for other people's methods.
        views: crops x clips of a video; the published GFLOPs are of all views.
        note: what disagrees in the paper itself, or needs saying.
    """

    name: str
    group: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)
    models: tuple[Model, ...] = ()
    views: int = 1
    note: str = ""


@dataclass(frozen=True)
class Design:
    """A design of Tables 6 to 10: its results, and the fields of ModelConfig in which it is not the published model."""

    name: str
    overrides: dict[str, Any]
    published: dict[str, float]
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the paper."""

    caption: str
    rows: tuple[PaperRow, ...]


_TAPS = "the convolution rows differ by two dense taps, as here; they do not differ so from the MorphFC_t row"
_HEAD = "published with the head of 400 classes; counted with 174"

DESIGNS: dict[int, tuple[Design, ...]] = {
    6: tuple(
        Design(
            "-".join(map(str, chunk_lengths)),
            {"chunk_lengths": chunk_lengths},
            {SSV1: ssv1, IMAGENET: imagenet, ADE20K: ade20k},
        )
        for chunk_lengths, ssv1, imagenet, ade20k in (
            ((56, 28, 14, 7), 48.6, 79.1, 41.6),  # one row of the map in each stage
            ((3, 3, 3, 3), 48.0, 78.2, 41.0),
            ((7, 7, 7, 7), 48.4, 79.0, 41.9),
            ((14, 14, 14, 14), 48.7, 79.0, 42.0),
            ((14, 28, 28, 7), 49.2, 79.3, 42.0),
            ((28, 28, 28, 49), 49.1, 79.4, 42.3),
            ((14, 28, 28, 49), 50.6, 79.6, 42.6),  # the published model
        )
    ),
    7: (
        Design("parallel, standard residual", {"block": "parallel", "residual": "standard"}, {SSV1: 49.2}),
        Design("T+S, standard residual", {"order": "ts", "residual": "standard"}, {SSV1: 49.8}),
        Design("S+T, standard residual", {"order": "st", "residual": "standard"}, {SSV1: 50.2}),
        Design("T+S, skip residual", {"order": "ts", "residual": "skip"}, {SSV1: 50.6}),
        Design("S+T, skip residual", {"order": "st", "residual": "skip"}, {SSV1: 31.7}),
    ),
    8: tuple(
        Design(
            name,
            {"spatial_op": spatial_op},
            {PARAMETERS: parameters, GFLOPS: gflops, "images/s": throughput, IMAGENET: imagenet},
        )
        for name, spatial_op, parameters, gflops, throughput, imagenet in (
            ("3x3 Conv", "conv3", 34.5, 6.2, 676, 77.3),
            ("7x7 Conv", "conv7", 113, 20.6, 532, 77.7),
            ("Group Conv", "groupconv", 23.4, 4.0, 620, 79.0),
            ("MorphFC_s", "morphfc", 23.4, 4.0, 734, 79.6),
        )
    ),
    9: (
        Design("H+W+C, Transformer, weighted sum", {}, {SSV1: 50.6, IMAGENET: 79.6}),
        Design("H+W, Transformer, weighted sum", {"branches": "hw"}, {SSV1: 49.4, IMAGENET: 78.5}),
        Design(
            "H+W+C, CNN, weighted sum",
            {"style": "cnn", "depths": (3, 4, 6, 3), "widths": (64, 128, 256, 512)},  # those of ResNet-50
            {SSV1: 47.2, IMAGENET: 77.2},
        ),
        Design("H+W+C, Transformer, plain sum", {"weighted_sum": False}, {SSV1: 50.2, IMAGENET: 79.3}),
    ),
    10: (
        Design("3x1x1 Conv", {"temporal_op": "conv3"}, {PARAMETERS: 46.0, GFLOPS: 62.7, SSV1: 47.9}, _TAPS),
        Design("5x1x1 Conv", {"temporal_op": "conv5"}, {PARAMETERS: 52.5, GFLOPS: 72.9, SSV1: 48.6}, _TAPS),
        Design("MorphFC_t", {"temporal_op": "morphfc"}, {PARAMETERS: 47.0, GFLOPS: 66.4, SSV1: 50.6}, _HEAD),
    ),
}

_IMAGE_T = Model("morphmlp_image_t")
_VIDEO_S_ON_SSV = Model("morphmlp_video_s", {"num_classes": SSV_CLASSES})
_ABLATED = {
    6: ("Impact of chunk length", (_IMAGE_T, _VIDEO_S_ON_SSV)),
    7: ("Detail designs of spatial-temporal MorphMLP block", (_VIDEO_S_ON_SSV,)),
    8: ("Spatial design of MorphMLP", (_IMAGE_T,)),
    9: ("Different operations", (_IMAGE_T, _VIDEO_S_ON_SSV)),
    10: ("Temporal design", (_VIDEO_S_ON_SSV,)),
}


def _table_of_designs(number: int) -> Table:
    caption, models = _ABLATED[number]
    rows = []
    for row in DESIGNS[number]:
        variants = tuple(Model(model.name, model.overrides | row.overrides) for model in models)
        rows.append(PaperRow(row.name, published=row.published, models=variants, note=row.note))
    return Table(caption, tuple(rows))


_VIDEO_MODELS = {"MorphMLP-S": "morphmlp_video_s", "MorphMLP-B": "morphmlp_video_b"}
_CNN, _TRANSFORMER, _MLP = "CNN", "Transformer", "MLP-like"

# Group, method, pretraining, frames x crops x clips, GFLOPs of all views, top-1, top-5, and where needed a note.
_KINETICS_ROWS = (
    (_CNN, "SlowFast R101", "", "(16+64)x3x10", 6390, 78.9, 93.5),
    (_CNN, "CorrNet-101", "", "32x3x10", 6720, 79.2, None),
    (_CNN, "ip-CSN", "Sports1M", "32x3x10", 3264, 79.2, 93.8),
    (_CNN, "X3D-XL", "", "16x3x10", 1452, 79.1, 93.9),
    (_CNN, "SmallBig EN", "IN-1K", "(8+32)x3x4", 5700, 78.7, 93.7),
    (_CNN, "TDN EN", "IN-1K", "(8+16)x3x10", 5940, 79.4, 94.4),
    (_CNN, "CT-Net EN", "IN-1K", "(16+16)x3x4", 2641, 79.8, 94.2),
    (_TRANSFORMER, "Timesformer-L", "IN-21K", "96x3x1", 7140, 80.7, 94.7),
    (_TRANSFORMER, "VidTr-L", "IN-21K", "32x3x10", 11760, 79.1, 93.9),
    (_TRANSFORMER, "ViViT-L", "IN-21K", "16x3x4", 17357, 80.6, 94.7),
    (_TRANSFORMER, "X-ViT", "IN-21K", "16x3x1", 850, 80.2, 94.7),
    (_TRANSFORMER, "Mformer", "IN-21K", "32x3x10", 11085, 80.2, 94.8),
    (_TRANSFORMER, "Mformer-L", "IN-21K", "32x3x10", 35550, 80.2, 94.8),
    (_TRANSFORMER, "MViT-B, 16x4", "", "16x1x5", 355, 78.4, 93.5),
    (_TRANSFORMER, "MViT-B, 32x3", "", "32x1x5", 850, 80.2, 94.4),
    (_TRANSFORMER, "VideoSwin-T", "IN-1K", "32x3x4", 1056, 78.8, 93.6),
    (_TRANSFORMER, "VideoSwin-B", "IN-1K", "32x3x4", 3384, 80.6, 94.6),
    (_MLP, "MorphMLP-S", "IN-1K", "16x1x4", 268, 78.7, 93.8, "4 x 67, one view of 66.4 (Table 10) rounded up"),
    (_MLP, "MorphMLP-S", "IN-1K", "32x1x4", 532, 79.7, 94.2, "4 x 133; the same view is 135 in Table 2"),
    (_MLP, "MorphMLP-B", "IN-1K", "16x1x4", 392, 79.5, 94.4),
    (_MLP, "MorphMLP-B", "IN-1K", "32x1x4", 788, 80.8, 94.9),
)
_SSV2_ROWS = (
    (_CNN, "SlowFast R50", "K400", "(8+32)x3x1", 197, 61.7, 46.6, "a top-5 cannot lie below its top-1"),
    (_CNN, "TSM", "K400", "16x3x2", 374, 63.4, 88.5),
    (_CNN, "STM", "IN-1K", "16x3x10", 1995, 64.2, 89.8),
    (_CNN, "bLVNet", "IN-1K", "32x3x10", 3870, 65.2, 90.3),
    (_CNN, "TEA", "IN-1K", "16x3x10", 2100, 65.1, None),
    (_CNN, "CT-Net", "IN-1K", "16x3x2", 450, 65.9, 90.1, "2.2 x MorphMLP-S at 16 frames; the text says 2.5 x"),
    (_TRANSFORMER, "Timesformer", "IN-21K", "16x3x1", 5109, 62.5, None),
    (_TRANSFORMER, "VidTr-L", "IN-21K+K400", "32x3x10", 10530, 60.2, None),
    (_TRANSFORMER, "ViViT-L", "IN-21K+K400", "16x3x4", 11892, 65.4, 89.8),
    (_TRANSFORMER, "X-ViT", "IN-21K", "32x3x1", 1269, 65.4, 90.7),
    (_TRANSFORMER, "Mformer", "IN-21K+K400", "16x3x1", 1110, 66.5, 90.1),
    (_TRANSFORMER, "Mformer-L", "IN-21K+K400", "32x3x1", 3555, 68.1, 91.2),
    (_TRANSFORMER, "MViT-B, 16x4", "K400", "16x3x1", 510, 67.1, 90.8),
    (_TRANSFORMER, "MViT-B, 32x3", "K400", "32x3x1", 1365, 67.7, 90.9),
    (_TRANSFORMER, "MViT-B-24, 32x3", "K600", "32x3x1", 708, 68.7, 91.5),
    (_MLP, "MorphMLP-S", "IN-1K", "16x3x1", 201, 67.1, 90.9, "3 x 67, one view of 66.4 (Table 10) rounded up"),
    (_MLP, "MorphMLP-S", "IN-1K", "32x3x1", 405, 68.3, 91.3, "3 x 135; the same view is 133 in Table 1"),
    (_MLP, "MorphMLP-B", "IN-1K", "16x3x1", 294, 67.6, 91.3),
    (_MLP, "MorphMLP-B", "IN-1K", "32x3x1", 591, 70.1, 92.8),
)
_SSV1_ROWS = (
    ("", "I3D", "IN-1K+K400", "32x3x2", 918, 41.6, 72.2),
    ("", "NLI3D", "IN-1K+K400", "32x3x2", 1008, 44.4, 76.0),
    ("", "NLI3D+GCN", "IN-1K+K400", "32x3x2", 1818, 46.1, 76.8),
    ("", "TSM", "IN-1K+K400", "16x1x1", 65, 47.2, 77.1),
    ("", "SmallBig", "IN-1K", "16x1x1", 105, 49.3, 79.5),
    ("", "TEINet", "IN-1K", "16x3x10", 1980, 51.0, None),
    ("", "TEA", "IN-1K", "16x3x10", 2100, 52.3, 81.9),
    ("", "CT-NET", "IN-1K", "16x3x2", 447, 53.4, 81.7),
    ("", "MorphMLP-S", "IN-1K", "16x1x1", 67, 50.6, 78.0, "66.4 in Table 10"),
    ("", "MorphMLP-S", "IN-1K", "16x3x1", 201, 53.9, 81.3, "3 x 67, one view of 66.4 (Table 10) rounded up"),
    ("", "MorphMLP-B", "IN-1K", "16x3x1", 294, 55.5, 82.4),
    ("", "MorphMLP-B", "IN-1K", "32x3x1", 591, 57.4, 84.5),
)


def _video_rows(rows: Iterable[tuple], **options: Any) -> tuple[PaperRow, ...]:
    return tuple(_video_row(*row, **options) for row in rows)


def _video_row(
    group: str,
    method: str,
    pretraining: str,
    frames_crops_clips: str,
    gflops: float,
    top1: float,
    top5: float | None,
    note: str = "",
    *,
    dataset: str,
    num_classes: int,
) -> PaperRow:
    """Frames, crops and clips as printed: "16x3x1" are 3 views of 16 frames, "(16+64)x3x10" 30 views."""
    frames, *views = frames_crops_clips.split("x")
    name = _VIDEO_MODELS.get(method)
    return PaperRow(
        method,
        group,
        settings={"pretraining": pretraining, "frames x crops x clips": frames_crops_clips},
        published=_printed({GFLOPS: gflops, f"{dataset} top-1": top1, f"{dataset} top-5": top5}),
        models=(Model(name, {"frames": int(frames), "num_classes": num_classes}),) if name else (),
        views=prod(map(int, views)),
        note=note,
    )


def _printed(columns: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in columns.items() if value is not None}


_TRAINING_ROWS = (
    PaperRow("SlowFast", "", {"training": "30 epoch"}, {TFLOPS: 1.11, "K400 top-1": 71.0, "cost (h)": 444}),
    PaperRow("Timesformer", "", {"training": "30 epoch"}, {TFLOPS: 0.59, "K400 top-1": 75.8, "cost (h)": 416}),
    PaperRow(
        "Morph-S",
        "",
        {"training": "30 epoch"},
        {TFLOPS: 0.27, "K400 top-1": 77.0, "cost (h)": 408},
        models=(Model("morphmlp_video_s"),),
        views=4,
        note="the 268 GFLOPs of Table 1: 16 frames, 4 views",
    ),
)

_IMAGE_MODELS = {f"MorphMLP-{size.upper()}": f"morphmlp_image_{size}" for size in "tsbl"}
_IMAGE_NOTES = {
    "MorphMLP-T": "4.0 GFLOPs in Table 8",
    "MorphMLP-S": "video S without MorphFC_t has 40.1 M, with 1,000 classes 40.5 M; Sec. 4.3 says 7.0 GFLOPs",
}

# Part (a): method, parameters in millions, GFLOPs, ImageNet-1K top-1.
_MLP_LIKE_ROWS = (
    ("Mixer-B/16", 59, 12.7, 76.4),
    ("Mixer-B/16†", 59, 12.7, 77.3),
    ("ResMLP-S12", 15, 3.0, 76.6),
    ("ResMLP-S24", 30, 6.0, 79.4),
    ("ResMLP-B24", 116, 23.0, 81.0),
    ("gMLP-Ti", 6, 1.4, 72.3),
    ("gMLP-S", 20, 4.5, 79.6),
    ("gMLP-B", 73, 15.8, 81.6),
    ("S2-MLP-wide", 71, 14.0, 80.0),
    ("S2-MLP-deep", 51, 10.5, 80.7),
    ("ViP-Small/7", 25, 6.9, 81.5),
    ("ViP-Medium/7", 55, 16.3, 82.7),
    ("ViP-Large/7", 88, 24.4, 83.2),
    ("AS-MLP-T", 28, 4.4, 81.3),
    ("AS-MLP-S", 50, 8.5, 83.1),
    ("AS-MLP-B", 88, 15.2, 83.3),
    ("CycleMLP-B2", 27, 3.9, 81.6),
    ("CycleMLP-B3", 38, 6.9, 82.6),
    ("CycleMLP-B4", 52, 10.1, 83.0),
    ("CycleMLP-B5", 76, 12.3, 83.1),
    ("MorphMLP-T", 23, 3.9, 81.6),
    ("MorphMLP-S", 38, 6.9, 82.6),
    ("MorphMLP-B", 58, 10.2, 83.2),
    ("MorphMLP-L", 76, 12.5, 83.4),
)
# Part (b): method, family, height and width in px, parameters in millions, GFLOPs, ImageNet-1K top-1.
_IMAGE_SOTA_ROWS = (
    ("ResNet50", _CNN, 224, 26, 4.1, 79.2),
    ("DeiT-S", _TRANSFORMER, 224, 22, 4.6, 79.8),
    ("ResNest50", _CNN, 224, 28, 4.3, 80.6),
    ("T2T-ViT-14", _TRANSFORMER, 224, 22, 4.8, 81.5),
    ("PVT-S", _TRANSFORMER, 224, 25, 3.8, 79.8),
    ("Swin-T", _TRANSFORMER, 224, 29, 4.5, 81.3),
    ("GFNet-H-S", "FFT", 224, 32, 4.5, 81.5),
    ("BoT-S1-50", "Hybrid", 224, 21, 4.3, 79.1),
    ("CoAtNet-0", "Hybrid", 224, 23, 4.2, 81.6),
    ("MorphMLP-T", _MLP, 224, 23, 3.9, 81.6),
    ("ResNet101", _CNN, 224, 45, 7.9, 79.8),
    ("ResNest101", _CNN, 224, 48, 8.0, 82.0),
    ("RegNetY-8G", _CNN, 224, 39, 8.0, 81.7),
    ("T2T-ViT-19", _TRANSFORMER, 224, 39, 8.5, 81.9),
    ("PVT-M", _TRANSFORMER, 224, 44, 6.7, 81.2),
    ("BoT-S1-59", "Hybrid", 224, 34, 7.3, 81.7),
    ("CoAtNet-1", "Hybrid", 224, 42, 8.4, 83.3),
    ("MorphMLP-S", _MLP, 224, 38, 6.9, 82.6),
    ("ViT-B/16", _TRANSFORMER, 384, 86, 55.4, 77.9),
    ("DeiT-B", _TRANSFORMER, 224, 86, 17.5, 81.8),
    ("DeiT-B", _TRANSFORMER, 384, 86, 55.4, 83.1),
    ("T2T-ViT-24", _TRANSFORMER, 224, 64, 13.8, 82.3),
    ("Swin-B", _TRANSFORMER, 224, 88, 15.4, 83.4),
    ("CaiT-S36", _TRANSFORMER, 224, 68, 13.9, 83.3),
    ("MorphMLP-L", _MLP, 224, 76, 12.5, 83.4),
)
# Method, architecture, parameters in millions, ADE20K mIoU.
_SEGMENTATION_ROWS = (
    ("ResNet50", _CNN, 28.5, 36.7),
    ("PVT-S", _TRANSFORMER, 28.2, 39.8),
    ("Swin-T", _TRANSFORMER, 31.9, 41.5),
    ("GFNet-H-T", "FFN", 26.6, 41.0),  # "FFT" in Table 4
    ("CycleMLP-B2", _MLP, 30.6, 42.4),
    ("MorphMLP-T", _MLP, 26.4, 43.0),
    ("ResNet101", _CNN, 47.5, 38.8),
    ("ResNeXt101-32x4d", _CNN, 47.1, 39.7),
    ("PVT-M", _TRANSFORMER, 48.0, 41.6),
    ("GFNet-H-S", "FFN", 47.5, 42.5),
    ("CycleMLP-B3", _MLP, 42.1, 44.5),
    ("MorphMLP-S", _MLP, 41.0, 44.7),
    ("PVT-L", _TRANSFORMER, 65.1, 42.1),
    ("Swin-S", _TRANSFORMER, 53.2, 45.2),
    ("CycleMLP-B4", _MLP, 55.6, 45.1),
    ("MorphMLP-B", _MLP, 59.3, 45.9),
)


def _image_row(group: str, method: str, parameters: float, gflops: float, top1: float, **settings: str) -> PaperRow:
    return PaperRow(
        method,
        group,
        settings=settings,
        published={PARAMETERS: parameters, GFLOPS: gflops, IMAGENET: top1},
        models=(Model(_IMAGE_MODELS[method]),) if method in _IMAGE_MODELS else (),
        note=_IMAGE_NOTES.get(method, ""),
    )


def _segmentation_row(method: str, architecture: str, parameters: float, miou: float) -> PaperRow:
    ours = method in _IMAGE_MODELS
    segmenter = {"task": "segmentation", "num_classes": 150}
    return PaperRow(
        method,
        settings={"architecture": architecture},
        published={PARAMETERS: parameters, ADE20K: miou},
        models=(Model(_IMAGE_MODELS[method], segmenter, size=512),) if ours else (),
        note="fewer than backbone and Semantic FPN have together" if ours else "",
    )


TABLES: dict[int, Table] = {
    1: Table("Kinetics-400", _video_rows(_KINETICS_ROWS, dataset="K400", num_classes=400)),
    2: Table("Something-Something V2", _video_rows(_SSV2_ROWS, dataset="SSV2", num_classes=SSV_CLASSES)),
    3: Table("Something-Something V1", _video_rows(_SSV1_ROWS, dataset="SSV1", num_classes=SSV_CLASSES)),
    4: Table(
        "ImageNet-1K",
        (
            *(_image_row("(a) MLP-like models", *row) for row in _MLP_LIKE_ROWS),
            *(
                _image_row("(b) SOTA models", method, *numbers, family=family, input=f"{size}²")
                for method, family, size, *numbers in _IMAGE_SOTA_ROWS
            ),
        ),
    ),
    5: Table("ADE20K val, Semantic FPN", tuple(_segmentation_row(*row) for row in _SEGMENTATION_ROWS)),
    **{number: _table_of_designs(number) for number in _ABLATED},
    11: Table("Training cost", _TRAINING_ROWS),
}
