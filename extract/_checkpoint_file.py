"""Reading the bytes of a checkpoint: safetensors, torch files and npz, without running what a file says."""

import re
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from extract import _checkpoint_pickle
from extract.errors import UntrustedWeights, WeightsUnreadable

if TYPE_CHECKING:
    import numpy as np
    import torch


def read_safetensors(path: Path) -> "dict[str, torch.Tensor]":
    """Read a ``.safetensors`` file.

    Raises
    ------
    WeightsUnreadable
        If it is not one, or a part of it is missing.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as e:
        raise WeightsUnreadable(
            f"weights: {path} is not a readable safetensors file: {e}. Write one with "
            "safetensors.torch.save_file(model.state_dict(), ...), or download it again."
        ) from e


def read_npz(path: Path) -> "dict[str, np.ndarray]":
    """Read the arrays of an ``.npz`` file; one that holds Python objects is refused.

    Raises
    ------
    WeightsUnreadable
        If it is not such a file, or a part of it is missing.
    """
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as e:  # zip, zlib and numpy each raise their own on a damaged file
        raise WeightsUnreadable(
            f"weights: {path} is not a readable npz file of arrays ({type(e).__name__}: {first_line(e)}). Download it "
            "again."
        ) from e


def read_torch(path: Path, *, trust: Literal["tensors", "pickle"]) -> Any:
    """Read a torch file.

    With ``trust="tensors"`` a file that holds anything but tensors and plain values is refused. With ``"pickle"`` it
    is read by `_checkpoint_pickle.Unpickler`, which leaves out what is neither. Neither imports or runs what the file
    names.

    Raises
    ------
    UntrustedWeights
        If the file holds Python objects and ``trust`` is ``tensors``.
    WeightsUnreadable
        If it is not a torch file, or a part of it is missing.
    """
    import pickle

    import torch

    if _is_torchscript(path):
        raise WeightsUnreadable(
            f"weights: {path} is a TorchScript program, which is code; expected a state dict. {_HOW_TO_SAVE}"
        )
    pickles: ModuleType | None = _checkpoint_pickle if trust == "pickle" else None
    try:
        with _numpy_scalars() if pickles is None else nullcontext():
            return torch.load(path, map_location="cpu", weights_only=pickles is None, pickle_module=pickles)
    except Exception as e:  # the unpickler raises whatever the bytes lead it to
        if pickles is None and isinstance(e, pickle.UnpicklingError) and "unsupported" in str(e).lower():
            raise UntrustedWeights(
                f"weights: {path} is not a torch file that holds tensors only ({_reason(e)}). Pickled objects can run "
                "code when they are read. If you know who made the file, say trust: pickle for this model: tensors and "
                f"plain values are read, and every other object is left out. Otherwise: {_HOW_TO_SAVE}"
            ) from e
        raise WeightsUnreadable(
            f"weights: {path} is not a torch file that holds tensors{' only' if pickles is None else ''} "
            f"({type(e).__name__}: {_reason(e)}). {_HOW_TO_SAVE}"
        ) from e


_HOW_TO_SAVE = "Save the state dict alone, with safetensors.torch.save_file or torch.save(model.state_dict(), ...)."


def first_line(e: BaseException) -> str:
    """Return the first line of an error's message."""
    return next(iter(str(e).splitlines()), "")


def _reason(e: Exception) -> str:
    """Return what torch says of the cause; the first lines of its message advise to switch the check off."""
    named = re.search(r"GLOBAL ([\w.]+\w)", str(e))
    if named is not None:
        return f"it holds {named[1]}"
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Weights only load failed"):
        lines = sorted(lines[1:], key=lambda line: "WeightsUnpickler" not in line)
    return next(iter(lines), "")


def _is_torchscript(path: Path) -> bool:
    # torch.load hands such a file to torch.jit.load, which is not asked to be careful.
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _numpy_scalars() -> AbstractContextManager[Any]:
    """Allow numpy's scalars, in which training runs note accuracies; torch can be told their names since 2.6."""
    import numpy as np
    import torch

    if tuple(int(n) for n in torch.__version__.split(".")[:2]) < (2, 6):
        return nullcontext()
    scalar: Any = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(k)) for k in (np.float64, np.float32, np.int64, np.int32, np.bool_)}
    names = [(scalar, f"{package}.multiarray.scalar") for package in ("numpy.core", "numpy._core")]
    manager: AbstractContextManager[Mapping[str, Any]] = torch.serialization.safe_globals([*names, np.dtype, *kinds])
    return manager
