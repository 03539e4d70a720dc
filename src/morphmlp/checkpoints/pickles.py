"""Foreign pickles: the tensors are read, the bookkeeping beside them is left out, and no code of the file runs."""

import re
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.serialization import safe_globals

from morphmlp.errors import CheckpointError
from morphmlp.formatting import shortened

# What trainings leave beside their weights: options, configurations, figures. None of these classes is imported.
BOOKKEEPING = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|datetime\.\w+|typing\.\w+|pathlib\.(Pure)?(Posix|Windows)?Path"
    r"|numpy\.(_?core\.multiarray\.(scalar|_reconstruct)|dtypes?(\.\w+)?|ndarray|[a-z]*\d+|bool_?)"
    r"|(addict|detectron2|easydict|fvcore|iopath|ml_collections|mmcv|mmengine|omegaconf|yacs)\.[\w.]+"
)
WRAPPINGS = ("model_state", "state_dict", "model", "module", "model_ema")
PREFIXES = r"^((module|model|backbone)\.)+"
_UNSUPPORTED = re.compile(r"unsupported global\W+(?:global )?([\w.]+)", re.IGNORECASE)


class _LeftOut:
    """In place of an object that is no tensor: takes whatever it is built from, and keeps nothing."""

    def __new__(cls, *arguments: Any) -> Any:
        return super().__new__(cls)

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _LeftOutMapping:
    """In place of a class that is a dictionary: the safe loader fills ordered dictionaries only."""

    def __new__(cls, *arguments: Any) -> Any:
        return OrderedDict()


def read_pickle(path: Path) -> Any:
    """What a .pth or .pyth file holds, of which only plain containers and tensors are of use.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it holds something that could run code.
    """
    if not path.is_file():
        reason = "no regular file" if path.exists() else "no such file"
        raise CheckpointError(f"{path}: {reason}; give a released .pth or .pyth file")
    left_out: dict[str, Any] = {}
    while True:
        try:
            with warnings.catch_warnings(), safe_globals([(cls, name) for name, cls in left_out.items()]):
                warnings.simplefilter("ignore")  # about the age and the protocol of the file
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # the safe loader raises many kinds; all mean the same to the user
            name = _global_named(error)
            if name is None or not BOOKKEEPING.fullmatch(name) or name in left_out:
                _refuse(path, error, name)
            left_out[name] = _LeftOutMapping if name.endswith(("CfgNode", "Namespace")) else _LeftOut


def _global_named(error: Exception) -> str | None:
    """The class or function that the safe loader stopped at."""
    found = _UNSUPPORTED.search(str(error))
    return found[1] if found else None


def _refuse(path: Path, error: Exception, name: str | None) -> NoReturn:
    reason = f"it holds {name}" if name else f"it is no readable pickle: {type(error).__name__}"
    raise CheckpointError(f"{path} is refused: {reason}; only files of plain tensors are loaded") from None


def state_dict_in(values: Any, name: str, *, shapes_only: bool = False) -> dict[str, Tensor]:
    """The state dict inside its wrappings (`model_state` and the like), prefixes of the names removed.

    Args:
        name: of the file, for messages.
        shapes_only: tensors on the meta device will do.

    Raises:
        CheckpointError: there is none, or it holds something else than dense, finite numbers.
    """
    seen: set[int] = set()
    while isinstance(values, dict) and (found := [key for key in WRAPPINGS if isinstance(values.get(key), dict)]):
        if id(values) in seen:
            raise CheckpointError(f"{name} holds no state dict: its `{found[0]}` is inside itself")
        seen.add(id(values))
        values = values[found[0]]
    if not isinstance(values, dict) or not values:
        raise CheckpointError(f"{name} holds no state dict: expected names with tensors, or `model_state` around them")
    others = [str(key) for key, value in values.items() if not isinstance(value, Tensor) or not isinstance(key, str)]
    if others:
        raise CheckpointError(f"{name} holds something else than tensors: {shortened(others)}")
    require_weights(values, name, shapes_only=shapes_only)
    return {re.sub(PREFIXES, "", key): value for key, value in values.items()}


def require_weights(weights: dict[str, Tensor], name: str, *, shapes_only: bool = False) -> None:
    """Raises CheckpointError where a tensor of `name` holds something else than dense, finite numbers."""
    odd = {key: reason for key, value in weights.items() if (reason := _why_unusable(value, shapes_only))}
    if odd:
        shown = shortened([f"{key} is {reason}" for key, reason in odd.items()])
        raise CheckpointError(f"{name} holds tensors that are no weights ({len(odd)}): {shown}")


def _why_unusable(tensor: Tensor, shapes_only: bool) -> str | None:
    """Why these are no weights: a layout without dense values, complex numbers, NaN or infinity."""
    if tensor.is_nested:
        return "nested"
    if tensor.layout != torch.strided:
        return "sparse"
    if tensor.is_meta:
        return None if shapes_only else "without values (on the meta device)"
    if tensor.is_quantized:
        return "quantised"
    if tensor.is_complex():
        return "complex"
    narrow = tensor.is_floating_point() and tensor.itemsize == 1  # torch cannot tell of 8-bit floats
    if tensor.is_floating_point() and not torch.isfinite(tensor.float() if narrow else tensor).all():
        return "not finite (NaN or infinity)"
    return None
