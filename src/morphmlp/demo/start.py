"""Makes the start that comes with the package: renders the motions, trains on them, and packs the weights."""

import hashlib
from pathlib import Path

from morphmlp.checkpoints.folder import load_with_info, save
from morphmlp.checkpoints.info import CONFIG_FILE, WEIGHTS_FILE
from morphmlp.checkpoints.starts import Start
from morphmlp.demo.motions.dataset import MOTIONS, TRAIN_PER_MOTION, write_motions
from morphmlp.display.progress_bar import counting
from morphmlp.errors import CheckpointError
from morphmlp.files import require_own_folder
from morphmlp.output import tell
from morphmlp.recipes import load_recipe
from morphmlp.training.run import resume, train
from morphmlp.training.settings import run_config

NAME = "rendered"  # of the start, and of its recipe


def make_start(out: str | Path, *, clips: int = TRAIN_PER_MOTION, seed: int = 0) -> Path:
    """Writes `out/data`, `out/run` and the start, `out/rendered`, which it returns; a stopped one goes on where it was.

    Args:
        clips: training clips of each motion.

    Raises:
        UserError: `out` holds something else, or a number is out of range.
        Interrupted: after Ctrl-C or SIGTERM in the training; the state is saved.
    """
    out = Path(out)
    require_own_folder(out / NAME, {CONFIG_FILE, WEIGHTS_FILE}, what="a start", option="--start")
    with counting("clips", lines=True) as progress:
        data = write_motions(out / "data", train=clips, motions=MOTIONS, seed=seed, progress=progress)
    if (out / "run" / "config.json").exists():
        result = resume(out / "run")
    else:
        config = run_config(data, num_classes=len(MOTIONS), recipe=load_recipe(NAME) | {"seed": seed})
        result = train(config, out / "run")
    start = write_start(result.best, out / NAME)
    tell(f"the start is {out / NAME}; to pack it, copy it to checkpoints/weights/{NAME}, and in checkpoints/starts.py:")
    tell(f'"{NAME}": {start}')
    return out / NAME


def write_start(checkpoint: str | Path, folder: str | Path) -> Start:
    """Writes a checkpoint as a start: weights in half precision, and nothing of the machine that made them.

    Raises:
        CheckpointError: `checkpoint` cannot be read, has weights that half precision cannot hold, or `folder` holds
            something else.
    """
    model, info = load_with_info(checkpoint)
    info.training |= {"data": NAME}
    model = model.half()
    if not all(tensor.isfinite().all() for tensor in model.state_dict().values()):
        raise CheckpointError(f"{checkpoint} has weights above 65,504, which half precision cannot hold")
    save(model, folder, info)
    files = sorted(Path(folder).iterdir())
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return Start(model.config.name, digests)
