"""What a run folder holds; it is read and written here only.

config.yaml             the resolved configuration, plain
metrics.csv             curves, one row per epoch
summary.json            figures, cost, fingerprints, seed, wall time, versions
pruned.json             instead of it, of a trial that its search gave up: metric, value, epoch, trial
predictions.npz         test: index (N,), target (N,), logits (N, K); teacher_logits (N, K) if there was a teacher
val_predictions.npz     the same of validation
mistakes.npz            some test images that teacher or student got wrong: index (M,), image (M, C, H, W) uint8
checkpoints/            best.ckpt (chosen on validation) and last.ckpt
student.safetensors     the chosen weights (teacher.safetensors for a teacher)
"""

import csv
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any, Literal

import numpy as np
from omegaconf import DictConfig, OmegaConf

from kdistill.errors import UserError
from kdistill.files import write_atomically

# How a run reports and where it keeps what can be computed again: none of it changes the result.
OPERATIONAL = (
    *("logger", "teacher_cache", "trainer.progress_bar", "trainer.log_every_n_steps", "trainer.tune_cache"),
    *("replay.cache", "replay.max_gb"),
)
_PACKAGES = ("torch", "torchvision", "timm", "pytorch-lightning", "hydra-core", "torchmetrics", "fvcore", "numpy")


class RunFolder:
    """One run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, config: DictConfig) -> "RunFolder":
        """Starts a run's folder with its config.

        Raises:
            UserError: a finished run lies there already, or one that another config began.
        """
        folder = cls(path)
        if folder.finished:
            raise UserError(
                f"{path} holds a finished run; give another folder (hydra.run.dir=..., with -m hydra.sweep.dir=...) or "
                "remove that one"
            )
        if folder.last_checkpoint is not None and not folder.begun_by(config):
            raise UserError(
                f"{path} holds a run that another config began and did not finish; to go on with it, give that config "
                f"again ({path / 'config.yaml'}); else give another folder (hydra.run.dir=..., with -m "
                "hydra.sweep.dir=...) or remove that one"
            )
        folder.path.joinpath("pruned.json").unlink(missing_ok=True)  # it is started again, to be trained to its end
        text = OmegaConf.to_yaml(config, resolve=True)
        write_atomically(path / "config.yaml", lambda file: file.write(text.encode()))
        return folder

    def begun_by(self, config: DictConfig) -> bool:
        """Whether this folder's run was started with this very config; what only reports or stores does not count."""
        path = self.path / "config.yaml"
        return path.is_file() and _settings(self.config()) == _settings(config)

    @property
    def last_checkpoint(self) -> Path | None:
        """Where a killed run can go on; None where there is nothing yet."""
        path = self.checkpoints / "last.ckpt"
        return path if path.is_file() else None

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """A finished run's folder.

        Raises:
            UserError: there is no finished run.
        """
        folder = cls(path)
        missing = [name for name in ("config.yaml", "summary.json") if not (path / name).is_file()]
        if missing:
            raise UserError(f"{path} is not a finished run's folder: it lacks {' and '.join(missing)}")
        return folder

    @property
    def finished(self) -> bool:
        """The summary is the last file that a run writes."""
        return (self.path / "summary.json").is_file()

    @property
    def pruned(self) -> bool:
        """Whether a search gave this run up before its end."""
        return (self.path / "pruned.json").is_file()

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def curves(self, *, until: int | None = None) -> list[dict[str, str]]:
        """Rows of metrics.csv, all or up to a step."""
        path = self.path / "metrics.csv"
        if not path.is_file():
            return []
        with path.open(newline="") as file:
            return [row for row in csv.DictReader(file) if until is None or int(row["step"]) <= until]

    def weights(self, role: str) -> Path:
        """Where the chosen weights lie."""
        return self.path / ("teacher.safetensors" if role == "teacher" else "student.safetensors")

    def config(self) -> DictConfig:
        config = OmegaConf.load(self.path / "config.yaml")
        assert isinstance(config, DictConfig)
        return config

    def summary(self) -> dict[str, Any]:
        return json.loads((self.path / "summary.json").read_text())

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, indent=2, allow_nan=True) + "\n"
        write_atomically(self.path / name, lambda file: file.write(text.encode()))

    def predictions(self, part: Literal["val", "test"]) -> Path:
        """Where the predictions of a partition lie."""
        return self.path / ("predictions.npz" if part == "test" else "val_predictions.npz")

    def write_predictions(self, part: Literal["val", "test"], arrays: Mapping[str, np.ndarray]) -> None:
        write_atomically(self.predictions(part), lambda file: np.savez(file, allow_pickle=False, **arrays))

    @property
    def mistakes(self) -> Path:
        """Where the test images lie that a report shows."""
        return self.path / "mistakes.npz"

    def write_mistakes(self, index: np.ndarray, image: np.ndarray) -> None:
        """Keeps a few test images: their numbers (M,) and pixels (M, C, H, W) uint8."""
        content = {"index": index, "image": image}
        write_atomically(self.mistakes, lambda file: np.savez_compressed(file, allow_pickle=False, **content))

    def read_predictions(self, part: Literal["val", "test"]) -> dict[str, np.ndarray]:
        with np.load(self.predictions(part), allow_pickle=False) as content:
            return dict(content)


def _settings(config: DictConfig) -> Any:
    """A config as `config.yaml` gives it back, without the operational keys."""
    plain = OmegaConf.to_container(OmegaConf.create(OmegaConf.to_yaml(config, resolve=True)))
    for key in OPERATIONAL:
        section, _, leaf = key.rpartition(".")
        below = plain.get(section) if section else plain  # type: ignore[union-attr]
        if isinstance(below, dict):
            below.pop(leaf, None)
    return plain


def versions() -> dict[str, str]:
    """Versions of Python, kdistill and what it computes with."""
    found = {"python": python_version()}
    for package in ("kdistill", *_PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
