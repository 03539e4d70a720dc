"""The card of a model on the hub: a `README.md` for people and catalogues, written from its `config.json`."""

import os
import re
from typing import Any

from morphmlp.checkpoints.folder import CheckpointInfo
from morphmlp.checkpoints.hub import Repository
from morphmlp.config import ModelConfig
from morphmlp.formatting import encodable, percent
from morphmlp.tasks.classification.calibration.measures import wilson_interval
from morphmlp.tasks.registry import TASKS

LIBRARY = "morphmlp"
USUAL_LICENSES = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "cc0-1.0", "other")
PAPER = """\
@inproceedings{zhang2022morphmlp,
  title = {MorphMLP: An Efficient MLP-Like Backbone for Spatial-Temporal Representation Learning},
  author = {Zhang, David Junhao and Li, Kunchang and Wang, Yali and Chen, Yunpeng and Chandra, Shashwat and
            Qiao, Yu and Liu, Luoqi and Shou, Mike Zheng},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year = {2022}
}"""


def model_card(
    values: dict[str, Any], config: ModelConfig, info: CheckpointInfo, *, repository: Repository, license: str
) -> str:
    """The text of a card: YAML that the hub reads, then what people want to know.

    Args:
        values: of `config.json`, as they are pushed.
    """
    training = values["training"]
    parts = {
        "": _introduction(values, config, info),
        "Use": _use(config, repository),
        "Protocol": _table(_protocol(config, info)),
        "Training": _table(_training_rows(training)),
        "Figures": _figures(training, config),
        "Classes": _labels(info),
        "Citation": f"```bibtex\n{PAPER}\n```",
    }
    body = "\n\n".join(f"## {title}\n\n{text}" if title else text for title, text in parts.items())
    return f"---\n{_header(training, config, license)}\n---\n\n# {repository.name.partition('/')[2]}\n\n{body}\n"


def pipeline_tag(config: ModelConfig) -> str:
    """The hub's name of what a model does."""
    if config.task == "segmentation":
        return "image-segmentation"
    return "video-classification" if config.temporal else "image-classification"


def _header(training: dict[str, Any], config: ModelConfig, license: str) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    metric, _ = _metric(config)
    score = training.get(f"val_{metric}")
    data = _name(training.get("data"))
    results = None
    if isinstance(score, float) and data:
        # The hub's name of the share of right answers; that of mIoU is its own.
        results = [
            EvalResult(
                task_type=pipeline_tag(config),
                dataset_type=data,
                dataset_name=data,
                dataset_split="validation",
                metric_type={"top1": "accuracy", "miou": "mean_iou"}.get(metric, "mean_average_precision"),
                metric_value=round(score, 4),
            )
        ]
    return ModelCardData(
        license=license,
        library_name=LIBRARY,
        pipeline_tag=pipeline_tag(config),
        tags=[LIBRARY, config.name],
        model_name=config.name,
        eval_results=results,
    ).to_yaml()


def _metric(config: ModelConfig) -> tuple[str, str]:
    """The figure of a task, and what it counts: "top1" of "videos"."""
    task = TASKS[config.task]
    return task.metric, "videos" if config.temporal else "images"


def _introduction(values: dict[str, Any], config: ModelConfig, info: CheckpointInfo) -> str:
    noun = TASKS[config.task].model_noun
    what = f"{config.frames} frames of a video" if config.temporal else "an image"
    export = values.get("export")
    form = f", exported for {export['format']} in {export['precision']}" if export else ""
    return (
        f"A {noun} of {config.num_classes} classes that takes {what}: `{_code(config.name)}` of "
        f"MorphMLP (ECCV 2022){form}, written by [morphmlp](https://pypi.org/project/morphmlp/) {_code(info.version)}."
    )


def _use(config: ModelConfig, repository: Repository) -> str:
    name = f"hf://{repository.name}"
    file = "video.mp4" if config.temporal else "image.jpg"
    verb, predictor, call = "predict", "Predictor", f'predict("{file}").top(5)'
    if config.task == "segmentation":
        verb, predictor, call = "segment", "SegmentPredictor", f'predict("{file}")'
    return (
        f"```bash\npip install morphmlp\nmorphmlp {verb} {name} {file}\n```\n\n"
        f'```python\nimport morphmlp\npredict = morphmlp.{predictor}("{name}")\n{call}\n```'
    )


def _protocol(config: ModelConfig, info: CheckpointInfo) -> dict[str, Any]:
    """How a file becomes the model's input, row by row."""
    given = info.input
    rows: dict[str, Any] = {}
    if config.temporal:
        every = f", every {given.stride}th at {given.target_fps:g} frames/s" if given.sampling == "dense" else ""
        rows["Frames"] = f"{config.frames}, sampled {given.sampling}{every}"
    rows["Size"] = f"shorter side {given.resize} px, crop {given.crop[0]} x {given.crop[1]} px"
    if given.fit != "crop":
        rows["Size"] = f"{given.fit}, {given.crop[0]} x {given.crop[1]} px"
    if config.task != "segmentation":
        rows["Views"] = f"{given.num_clips} in time x {given.num_crops} in space, joined by {given.aggregation}"
    rows["Pixels"] = f"{given.channel_order}, mean {list(given.mean)}, std {list(given.std)}"
    rows |= {name.capitalize(): value for name, value in info.calibration.items()}
    return rows


def _training_rows(training: dict[str, Any]) -> dict[str, Any]:
    rows: dict[str, Any] = {"Data": _name(training.get("data")) or "not recorded"}
    for unit in ("videos", "images"):
        if unit in training:
            rows[f"Training {unit}"] = f"{training[unit]:,}"
    rows |= {"Epochs": training["epochs"]} if "epochs" in training else {}
    rows |= {"Started from": _name(training["init"])} if training.get("init") else {}
    rows |= {"Conversions": "; ".join(training["conversions"])} if training.get("conversions") else {}
    rows |= {"Released file": _name(training["released"])} if isinstance(training.get("released"), str) else {}
    return rows


def _figures(training: dict[str, Any], config: ModelConfig) -> str:
    """The score on the validation part; of a share of right answers, with its 95 % interval (Wilson 1927)."""
    metric, unit = _metric(config)
    score, count = training.get(f"val_{metric}"), training.get(f"val_{unit}")
    if not isinstance(score, int | float) or not isinstance(count, int) or count < 1:
        return "None were recorded with this checkpoint; `morphmlp evaluate` measures it on your data."
    shown = TASKS[config.task].figures.get(metric, metric)
    if metric != "top1":
        return (
            f"On the validation part, {count:,} {unit}: {shown} {percent(score)}. A mean over classes has no interval."
        )
    low, high = wilson_interval(round(score * count), count)
    return (
        f"On the validation part, {count:,} {unit}: {shown} {percent(score)}, 95 % interval {percent(low)} to "
        f"{percent(high)} (Wilson). The checkpoint may have been chosen by this figure, which makes it a little high."
    )


def _labels(info: CheckpointInfo) -> str:
    """All names in the order of the outputs, in a block that takes any text as it is."""
    if not info.labels:
        return "Their names are unknown; outputs are numbered from 0."
    text = "\n".join(encodable(label).replace("\n", " ") for label in info.labels)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    block = f"{fence}text\n{text}\n{fence}"
    if len(info.labels) <= 20:
        return block
    return f"<details>\n<summary>{len(info.labels):,} classes</summary>\n\n{block}\n\n</details>"


def _table(rows: dict[str, Any]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows.items())])


def _cell(value: Any) -> str:
    """A value as text that is no markup of the card."""
    text = encodable(str(value)).replace("\n", " ").replace("|", "\\|")
    return text.replace("<", "&lt;").replace("[", "\\[").replace("`", "\\`")


def _code(text: str) -> str:
    return encodable(text).replace("`", "'").replace("\n", " ")


def _name(path: Any) -> str:
    """What a file or folder is called, without where it is."""
    return os.path.basename(str(path).rstrip("/\\").replace("\\", "/")) if path else ""
