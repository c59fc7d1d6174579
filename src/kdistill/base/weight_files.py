"""Where weights lie: what `student.weights` and `teacher.checkpoint` may name, found without importing torch."""

import os
from collections.abc import Sequence
from pathlib import Path

from kdistill.base.bounded import read_json
from kdistill.base.errors import UserError
from kdistill.base.plain_text import bad_name, shortened
from kdistill.base.run_paths import CONFIG, SUMMARY, find_run, runs_within
from kdistill.base.spelling import did_you_mean

HUB = ("hf-hub:", "hf_hub:")  # before a repository of the Hugging Face hub
_RUN = ("teacher.safetensors", "student.safetensors")  # what a finished run leaves
INDEX = "model.safetensors.index.json"  # of weights in several files
_KNOWN = (*_RUN, "model.safetensors", INDEX, "pytorch_model.bin", "open_clip_model.safetensors")
_ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
_TAKES = (
    "a finished run's folder or one above it, a folder with model.safetensors, or a .safetensors, .pt, .pth, .bin or "
    ".ckpt file (student.weights and teacher.weights: also hub, package or none)"
)


def weights_path(source: str | Path) -> Path:
    """The file of weights that a text names: that file, or the one in a folder of a run or of Hugging Face.

    Args:
        source: a path, `~` for the home folder.

    Raises:
        UserError: there is none, or it is the address of something that is not on this machine.
    """
    text = str(source)
    if "://" in text or text.startswith(("http:/", "https:/")):
        address = text if "://" in text else text.replace(":/", "://", 1)
        raise UserError(f"{address} is an address: download it (curl -LO {address}) and give the file")
    if text.startswith(HUB):
        raise UserError(
            f"{text} is a repository of the Hugging Face hub: download it (hf download {text.partition(':')[2]} "
            "--local-dir <folder>) and give the folder"
        )
    path = Path(text).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        return _in_folder(path)
    others = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = did_you_mean(path.name, others)
    lacks = "" if path.parent.is_dir() else f" (there is no folder {path.parent} in {os.getcwd()})"
    raise UserError(f"no weights at {path}{lacks}{near}; give {_TAKES}")


def _in_folder(path: Path) -> Path:
    for name in _KNOWN:
        if (path / name).is_file():
            return path / name
    files = sorted(file for file in path.iterdir() if file.suffix in _ENDINGS and file.is_file())
    if len(files) == 1:
        return files[0]
    if files:
        raise UserError(f"{path} holds several files of weights, give one of them: {_listed([f.name for f in files])}")
    if (path / CONFIG).is_file() and not (path / SUMMARY).is_file():
        kept = sorted((path / "checkpoints").glob("*.ckpt"))
        raise UserError(
            f"{path} is a run that has not finished: the same command goes on with it"
            + (f"; what it has so far is {_listed(list(map(str, kept)))}" if kept else "")
        )
    if runs_within(path):
        return _in_folder(find_run(str(path)))
    raise UserError(
        f"{path} holds no weights ({_listed(sorted(p.name for p in path.iterdir())) or 'it is empty'}); give {_TAKES}"
    )


def parts_of(path: Path) -> list[Path]:
    """The files that hold the weights: the file itself, or those that an index names."""
    if path.name != INDEX:
        return [path]
    content = read_json(path)
    parts = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(parts, dict) or not parts:
        raise UserError(f"{path} names no files of weights (weight_map): restore the file")
    files = []
    for name in dict.fromkeys(map(str, parts.values())):
        if Path(name).name != name or not name.endswith(_ENDINGS) or bad_name(name):
            raise UserError(
                f"{path} names {shortened(name)}: an index may name files of weights beside it, by name alone"
            )
        if not path.with_name(name).is_file():
            raise UserError(f"{path} names {shortened(name)}, which is not there: get it, too")
        files.append(path.with_name(name))
    return sorted(files)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
