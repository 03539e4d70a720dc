"""Everything on the embedded videos: render, train, evaluate, predict, and a page that shows the results."""

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from morphmlp.config import RunConfig
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.video import probe, read_frames
from morphmlp.data.sets.find import find_media
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.demo.overview import Strip, draw_overview, make_strip
from morphmlp.demo.page import write_demo_page
from morphmlp.demo.recordings import render_recording
from morphmlp.demo.scenes import CLASSES, REVERSED
from morphmlp.demo.synthetic import encode, write_dataset
from morphmlp.display.timeline import Timeline, draw_timeline
from morphmlp.files import replace_json
from morphmlp.formatting import percent
from morphmlp.inference.device import AS_USUAL
from morphmlp.inference.optimize import for_inference
from morphmlp.output import tell
from morphmlp.recipes import load_recipe
from morphmlp.tasks.classification.evaluation import Evaluation, SamplePrediction, evaluate_checkpoint
from morphmlp.tasks.classification.prediction import load_classifier
from morphmlp.tasks.classification.predictor import Predictor
from morphmlp.tasks.classification.report import write_evaluation
from morphmlp.tasks.classification.timeline.evaluation import TimelineEvaluation, settings_for, watch_labelled
from morphmlp.tasks.classification.timeline.metrics import frame_accuracy
from morphmlp.tasks.classification.timeline.report import timeline_of
from morphmlp.training.run import TrainResult, train
from morphmlp.training.settings import run_config

TRAIN_PER_CLASS, VAL_PER_CLASS = 60, 20
MOST_WRONG_SHOWN = 10
RECORDED_ACTIONS = 6


def run_demo(out: str | Path, *, seed: int = 0) -> dict[str, Any]:
    """Runs the demo in the folder `out` and returns its figures; the page is `out/index.html`."""
    out = Path(out)
    started = time.perf_counter()
    tell(f"rendering {len(CLASSES) * (TRAIN_PER_CLASS + VAL_PER_CLASS)} videos of {len(CLASSES)} classes")
    data = write_dataset(out / "data", train_per_class=TRAIN_PER_CLASS, val_per_class=VAL_PER_CLASS, seed=seed)
    rendered = time.perf_counter()
    result = train(_demo_config(data, seed), out / "run", overwrite=True)
    trained = time.perf_counter()

    in_order = evaluate_checkpoint(result.best, data)
    shuffled = evaluate_checkpoint(result.best, data, shuffle_frames=True)
    held_out = find_media(data / "val" / CLASSES[0])[0]
    tell(f"predicting {held_out}")
    for label, probability in Predictor(result.best)(held_out).top(3):
        tell(f"  {probability:6.1%}  {label}")

    tell("watching a recording of several actions")
    watched = _watch(result.best, out / "recording.mp4", seed=seed)
    figures = {
        "top1": in_order.accuracy(),
        "top1_frames_shuffled": shuffled.accuracy(),
        "right_pair_frames_shuffled": pair_accuracy(shuffled),
        "chance": 1 / len(CLASSES),
        "videos": len(in_order.predictions),
        "recording_frame_accuracy": frame_accuracy(watched.recordings),
        "recording_frame_accuracy_labelled": frame_accuracy(watched.recordings, only_labelled=True),
        "rendering_s": rendered - started,
        "training_s": trained - rendered,
        "clips_per_s": result.clips_per_s,
        "total_s": time.perf_counter() - started,
    }
    _write_results(out, in_order, result, watched, figures)
    tell(
        f"top-1 {figures['top1']:.3f} on {figures['videos']} held-out videos (chance {figures['chance']:.3f}); "
        f"{figures['top1_frames_shuffled']:.3f} with their frames shuffled"
    )
    tell(f"{figures['total_s']:.0f} s in all; the page is {out / 'index.html'}")
    return figures


def pair_accuracy(evaluation: Evaluation) -> float:
    """Share of videos whose prediction is in the right pair of classes: single frames can tell no more."""
    hits = []
    for prediction in evaluation.predictions:
        label, predicted = evaluation.labels[prediction.label], evaluation.labels[prediction.predicted]
        hits.append(predicted in (label, REVERSED[label]))
    return sum(hits) / len(hits)


def _demo_config(data: Path, seed: int) -> RunConfig:
    return run_config(data, num_classes=len(CLASSES), recipe=load_recipe("demo") | {"seed": seed})


def _watch(checkpoint: Path, video: Path, *, seed: int) -> TimelineEvaluation:
    """Renders a recording of actions that no clip shows, and finds what happens when in it."""
    frames, actions = render_recording(seed, num_actions=RECORDED_ACTIONS)
    encode(video, frames)
    model, info = load_classifier(checkpoint)
    samples = [
        Sample(Stretch(video, action.start_s, action.end_s), info.labels.index(action.label)) for action in actions
    ]
    fast, execution = for_inference(model, AS_USUAL)
    return watch_labelled(
        fast,
        LabelledSet(samples, list(info.labels)),
        settings_for(model, info, step_s=0.5),
        info.input,
        num_frames=model.config.frames,
        temperature=info.temperature,
        execution=execution,
    )


def _timeline(watched: TimelineEvaluation) -> Timeline:
    return replace(
        timeline_of(watched.recordings[0], watched),
        title="What happens when",
        note=(
            f"The model watches {watched.recordings[0].duration_s:.0f} s of actions that it has not seen, through "
            f"windows of {watched.settings.length_s:g} s every {watched.settings.step_s:g} s, and names the most "
            "probable action at every moment. It has learned from clips of one action each and knows no pauses. Of the "
            "time at which something happens, it is right for "
            f"{percent(frame_accuracy(watched.recordings, only_labelled=True), digits=0)}."
        ),
    )


def _write_results(
    out: Path, evaluation: Evaluation, result: TrainResult, watched: TimelineEvaluation, figures: dict[str, Any]
) -> None:
    """Writes the page, and beside it the files that it is made from."""
    write_evaluation(evaluation, out)
    shutil.copyfile(result.best.parent / "curves.png", out / "curves.png")
    replace_json(out / "figures.json", figures)
    right = [p for p in evaluation.predictions if p.predicted == p.label]
    wrong = [p for p in evaluation.predictions if p.predicted != p.label]
    by_class = {evaluation.labels[p.label]: p for p in [*evaluation.predictions, *right]}  # right where there is one
    one_a_class = [by_class[name] for name in CLASSES if name in by_class]  # the two of a pair side by side
    draw_timeline(out / "timeline.png", timeline_of(watched.recordings[0], watched))
    draw_overview(out / "overview.png", [_strip(p, evaluation) for p in one_a_class], evaluation)
    write_demo_page(
        out / "index.html",
        title="MorphMLP learns to tell actions apart",
        intro=(
            "Short videos rendered by the package itself. The classes come in pairs that are each other's reverse in "
            "time, so no single frame tells the two of a pair apart: only a model of time can. "
            f"Trained from scratch on {result.num_train} videos, tested on {result.num_val} others."
        ),
        facts=[
            ("top-1", f"{figures['top1']:.1%}"),
            ("chance", f"{figures['chance']:.1%}"),
            ("frames shuffled", f"{figures['top1_frames_shuffled']:.1%}"),
            ("training", f"{figures['training_s']:.0f} s"),
            ("speed", f"{figures['clips_per_s']:.0f} clips/s"),
        ],
        charts={"Training": out / "curves.png", "Confusion": out / "confusion.png"},
        strips=[_strip(p, evaluation) for p in [*one_a_class, *wrong[:MOST_WRONG_SHOWN]]],
        timeline=_timeline(watched),
    )


def _strip(prediction: SamplePrediction, evaluation: Evaluation) -> Strip:
    frames = read_frames(prediction.path, range(probe(prediction.path).num_frames))
    return make_strip(frames, prediction, labels=evaluation.labels)
