"""Files of weights, whoever wrote them: read as data alone, and what kind of file it is where that is not possible."""

import argparse
import json
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from kdistill.base.bounded import read_bounded
from kdistill.base.checked import damaged_entry
from kdistill.base.errors import UserError
from kdistill.base.plain_text import brief
from kdistill.base.space import size
from kdistill.base.weight_files import INDEX, parts_of, weights_path
from kdistill.models.tensor_sums import content_sum

_TORCHS_PICKLE = b"\2"  # the protocol that torch writes
_PROGRAM = 16 * 2**20  # bytes of a TorchScript program's code, which torch does compress
_DEEPEST = 3  # dicts in dicts
# Plain values that training programs keep beside weights; making one runs no code of the file.
_scalar: Any = np.float64(0).__reduce__()[0]  # what makes a scalar of NumPy
_PLAIN: list[Any] = [
    argparse.Namespace,  # timm's and torchvision's training scripts
    np.dtype,
    _scalar,
    (_scalar, "numpy.core.multiarray.scalar"),  # as NumPy 1 called it
    *{type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1", "?")},
]
_FOREIGN = {
    ".onnx": "an ONNX model", ".tflite": "a TensorFlow Lite model", ".h5": "a Keras model", ".hdf5": "a Keras model",
    ".keras": "a Keras model", ".pb": "a TensorFlow graph", ".npz": "arrays of NumPy", ".npy": "an array of NumPy",
    ".csv": "a table", ".json": "a JSON file", ".gguf": "a GGUF file", ".engine": "a TensorRT engine",
    ".pt2": "an exported program of torch", ".mlmodel": "a Core ML model", ".yaml": "a YAML file",
}  # fmt: skip
SUM = "sum"  # of our own .safetensors, in its metadata
_ANSWERS = (".npz", ".npy", ".csv")


@dataclass(frozen=True)
class StateFile:
    """What a file holds.

    Attributes:
        states: every dict of tensors in it, by where it stands (`state_dict`, `ema.module`; '' for the file itself).
        facts: what else stands at its top, with a config.json beside it.
    """

    path: Path
    states: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def architecture(self) -> str | None:
        """What the file says that its network is called."""
        for source in (self.facts, _mapping(self.facts.get("args")), _mapping(self.facts.get("config"))):
            for key in ("arch", "architecture", "architectures", "model_name", "model"):
                value = source.get(key)
                value = value[0] if isinstance(value, list) and value else value
                if isinstance(value, str):
                    return value
        return None


def read_state_file(source: str | Path) -> StateFile:
    """Reads a file of weights, or the one in a folder.

    Raises:
        UserError: there is none, or it can't be read as data; the message says what it is and how to convert it.
    """
    path = weights_path(source)
    states: dict[str, dict[str, Tensor]] = {}
    facts: dict[str, Any] = {}
    for part in parts_of(path):
        content, said = load_content(part)
        facts |= said
        for place, state in _states(content, seen=set()):
            states.setdefault(place, {}).update(state)
    beside = path.with_name("config.json")
    if beside.is_file():
        facts = {**_mapping(parsed(read_bounded(beside).decode(errors="replace"))), **facts}
    if not states:
        keys = f" of {brief(', '.join(map(str, list(content)[:9])))}" if isinstance(content, Mapping) else ""
        what = f"it holds {type(content).__name__}{keys}"
        raise UserError(f"{path} holds no weights (names and tensors): {what}")
    return StateFile(path, states, facts)


def damaged(path: Path, wrong: str) -> str:
    """What is said of a file of weights that is not as it was written."""
    return f"{path} is damaged ({wrong}), and what it answers would be wrong: restore the file, or train it again"


def load_content(path: Path) -> tuple[Any, dict[str, Any]]:
    """What a file holds, and the plain values at its top.

    Raises:
        UserError: it can't be read as data; the message says what it is and how to convert it.
    """
    if path.suffix.lower() in _FOREIGN and path.name != INDEX:
        _refuse_foreign(path)
    _refuse_packed(path)
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                written = dict(file.metadata() or {})
            state, noted = load_file(path), written.pop(SUM, None)
            if noted is not None and noted != content_sum(state, written):
                raise UserError(damaged(path, "its content does not fit its sum"))
            return state, {key: parsed(value) for key, value in written.items()}
        if (wrong := damaged_entry(path)) is not None:
            raise UserError(damaged(path, wrong))
        with torch.serialization.safe_globals(_PLAIN), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} can't be read as plain weights: {_why(path, error)}") from error
    facts = {str(key): value for key, value in content.items()} if isinstance(content, Mapping) else {}
    return content, {key: value for key, value in facts.items() if not isinstance(value, Tensor)}


def _states(
    content: Any, place: str = "", depth: int = 0, *, seen: set[int]
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every dict of tensors; what stands in several places is looked at in the first."""
    if id(content) in seen:
        return
    seen.add(id(content))
    if isinstance(content, list | tuple) and depth < _DEEPEST:  # (state_dict, epoch)
        for number, value in enumerate(content):
            yield from _states(value, f"{place}[{number}]", depth + 1, seen=seen)
    if not isinstance(content, Mapping):
        return
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        yield place, tensors
    for key, value in content.items() if depth < _DEEPEST else ():
        if isinstance(key, str):
            yield from _states(value, f"{place}.{key}".lstrip("."), depth + 1, seen=seen)


def _refuse_foreign(path: Path) -> None:
    what = f"{path} is {_FOREIGN[path.suffix.lower()]}"
    if path.suffix.lower() in _ANSWERS:
        raise UserError(
            f"{what}, not weights. If it holds a teacher's answers say teacher=answers teacher.file=<an .npz, .csv or "
            ".parquet file of them>"
        )
    raise UserError(f"{what}: give the weights of the torch network that it was made from (.safetensors, .pt, .ckpt)")


def _refuse_packed(path: Path) -> None:
    """Refuses an archive of compressed records: a little of that fills a memory, and torch writes no such weights."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as packed:
            whole = sum(member.file_size for member in packed.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return  # torch says what is wrong; NotImplementedError is zipfile's word for an unknown way of packing
    if whole > 2 * path.stat().st_size + _PROGRAM:
        raise UserError(
            f"{path} can't be read as plain weights: its records are compressed and unpack to {size(whole)}, and torch "
            "writes none such; unpack it, and pack it with 'zip -0 -r', or save the weights again"
        )


def _why(path: Path, error: Exception) -> str:
    """What kind of file it is, and how whoever trusts it makes plain weights of it."""
    with path.open("rb") as file:
        beginning = file.read(512)
    start = b"" if beginning[8:9] == b"{" else beginning.lstrip()  # the header of safetensors: the error tells
    if not beginning.strip():
        return "it is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file itself: get it with 'git lfs pull'"
    if start[:1] == b"<":
        return "it is a web page: the download went wrong"
    target = path.with_name(f"{path.stem}-weights.pt")
    names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
    if any("/code/" in f"/{name}" or name.endswith("constants.pkl") for name in names):
        lines = f'import torch\ntorch.save(torch.jit.load("{path}", map_location="cpu").state_dict(), "{target}")'
        return f"it is a TorchScript program. {_convert(lines, target)}"
    if start[:1] == b"\x80" and start[1:2] > _TORCHS_PICKLE:
        lines = (
            f'import pickle, torch; c = pickle.load(open("{path}", "rb")); c = c.get("model", c)\n'
            f'torch.save({{k: torch.as_tensor(v) for k, v in c.items()}}, "{target}")'
        )
        return f"it is a pickle that torch did not write, maybe with arrays of NumPy. {_convert(lines, target)}"
    strange = _strange_globals(path)
    if strange:
        lines = (
            f'import torch; c = torch.load("{path}", map_location="cpu", weights_only=False); s = lambda v: '
            'v.state_dict() if hasattr(v, "state_dict") else v\n'
            "torch.save(s(c) if not isinstance(c, dict) else {k: s(v) for k, v in c.items() if torch.is_tensor(v) or "
            f'(isinstance(s(v), dict) and all(map(torch.is_tensor, s(v).values())))}}, "{target}")'
        )
        theirs = [name for name in strange if not name.startswith("torch.")] or strange
        more = f" and {len(theirs) - 3} more" if len(theirs) > 3 else ""
        return (
            f"it is a pickle with objects of {', '.join(theirs[:3])}{more}, and making those could run anybody's code. "
            f"{_convert(lines, target)}"
        )
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'it ends too early'}"


def _convert(lines: str, target: Path) -> str:
    shown = "\n".join(f"    {line}" for line in lines.splitlines())
    return (
        "Who trusts the file makes plain weights of it with these two lines of Python, where the packages that it was "
        f"made with are installed:\n{shown}\nThen give {target}"
    )


def _strange_globals(path: Path) -> list[str]:
    try:
        with torch.serialization.safe_globals(_PLAIN):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, IndexError, NotImplementedError):
        return []  # damaged, no pickle, or one of an unknown protocol (NotImplementedError): the first error says so


def parsed(text: str) -> Any:
    """A text as the plain data that it is in JSON, else itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # also numbers of 5,000 digits, and lists in lists without an end
        return text


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, argparse.Namespace):
        return vars(value)
    return dict(value) if isinstance(value, Mapping) else {}
