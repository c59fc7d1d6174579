"""Finished runs with known figures, written as a training writes them."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from records import DATA, record

from kdistill.evidence.measures import MEASURES
from kdistill.runs.folder import RunFolder
from kdistill.runs.job_record import JobRecord

SAMPLES, EPOCHS = 90, 4

MakeRun = Callable[..., Path]
Browse = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    return write_run


@pytest.fixture(scope="session")
def chromium() -> Browse:
    return browse


def browse(folder: Path, text: str, *switches: str) -> subprocess.CompletedProcess[str]:
    """Shows a page in headless Chromium."""
    (folder / "page.html").write_text(text)
    quiet = ["no-first-run", "disable-background-networking", "disable-component-update", "disable-sync"]
    plain = ["headless", "no-sandbox", "disable-gpu", "disable-quic", f"user-data-dir={folder / 'profile'}"]
    command = ["chromium", *(f"--{switch}" for switch in (*plain, *quiet, *switches))]
    address = (folder / "page.html").as_uri()
    return subprocess.run([*command, address], capture_output=True, text=True, check=False, timeout=60)


def write_run(
    path: Path,
    role: str,
    seed: int = 0,
    *,
    classes: int = 3,
    val_accuracy: float = 0.9,
    images: bool = False,
    curves: bool = True,
    job: tuple[str, ...] = (),
    class_names: Sequence[str] = (),
    name: str = "",
    **loss: Any,
) -> Path:
    """A run folder.

    Args:
        path: the folder.
        role: student or distill.
        seed: it gives the logits.
        classes: how many.
        val_accuracy: of the summary.
        images: whether it kept any.
        curves: whether it kept metrics.csv.
        class_names: of the summary; else made-up ones.
        job: overrides of the sweep's job that the run was; none: no sweep has started it.
        name: of the experiment; else by the role.
        loss: what the loss is set to.
    """
    config = {
        "name": name or ("mnist_distill" if role == "distill" else "mnist_scratch"),
        "role": role,
        "seed": seed,
        "loss": {"_target_": "kdistill.losses.logit.KD", **loss},
        "callbacks": {"checkpoint": {"monitor": "val/accuracy", "mode": "max"}},
    }
    folder = RunFolder.create(path, OmegaConf.create(config))
    parts = {part: predictions(part, role, seed, classes) for part in ("val", "test")}
    for part, arrays in parts.items():
        folder.write_predictions(part, arrays)  # type: ignore[arg-type]
    found = {part: {name: _value(name, arrays) for name in MEASURES} for part, arrays in parts.items()}
    found["val"]["accuracy"] = val_accuracy
    names = (*class_names,) or tuple(f"<{k}>" for k in range(classes))
    data = replace(DATA, test=SAMPLES, class_names=names)
    about = {"experiment": config["name"], "seed": seed, "fingerprint": f"{role}{seed}{loss}"}
    if curves:
        (path / "metrics.csv").write_text(metrics_csv(role, seed))
    if images:
        wrong = np.flatnonzero(parts["test"]["logits"].argmax(1) != parts["test"]["target"])[:24]
        pictures = np.full((len(wrong), 1, 8, 8), 200, dtype=np.uint8)
        np.savez(path / "mistakes.npz", index=parts["test"]["index"][wrong], image=pictures)
    if job:
        JobRecord("start", job, "finished").write(path)
    folder.write_record(record(role, **about, **found, data=data))
    return path


def predictions(part: str, role: str, seed: int, classes: int) -> dict[str, np.ndarray]:
    shared = np.random.default_rng(len(part))
    target = np.arange(SAMPLES) % classes
    hard = shared.normal(size=(SAMPLES, classes))
    own = np.random.default_rng([seed, len(role), len(part)]).normal(size=(SAMPLES, classes))
    right = np.eye(classes)[target]
    arrays = {"index": np.arange(SAMPLES), "target": target, "logits": (hard + right + 0.3 * own).astype(np.float32)}
    if role == "distill":
        arrays["teacher_logits"] = (hard + 3 * right).astype(np.float32)
    return arrays


def metrics_csv(role: str, seed: int) -> str:
    """As Lightning writes it: validation and training in rows of their own, the learning rate between."""
    lines = ["epoch,lr-AdamW,step,train/ce,train/kd,train/loss,val/accuracy"]
    for epoch in range(EPOCHS):
        lines.append(f",0.001,{10 * epoch},,,,")
        lines.append(f"{epoch + 1},,{10 * epoch + 9},,,,{0.5 + 0.1 * epoch + 0.01 * seed}")
        kd = f"{2 / (epoch + 1)}" if role == "distill" else ""
        lines.append(f"{epoch + 1},,{10 * epoch + 9},{1 / (epoch + 1)},{kd},{1 / (epoch + 1)},")
    return "\n".join(lines) + "\n"


def _value(name: str, arrays: dict[str, np.ndarray]) -> float:
    return MEASURES[name].of(arrays["logits"], arrays["target"])
