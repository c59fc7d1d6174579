"""Model files as W&B artifacts, with what taught what: the teacher's file is an input of the student's run."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wandb

from kdistill.runs.folder import RunFolder

if TYPE_CHECKING:
    from wandb import Run


def log_model(run: "Run", folder: RunFolder, summary: Mapping[str, Any]) -> None:
    """Logs a finished run's weights, and what taught them as used by this run."""
    teacher = summary.get("teacher") or {}
    for facts in teacher.get("members", [teacher] if teacher else []):
        _use(run, teacher_artifact(facts))
    run.log_artifact(model_artifact(folder, summary))


def model_artifact(folder: RunFolder, summary: Mapping[str, Any]) -> "wandb.Artifact":
    """The chosen weights of a finished run, `model-<experiment>-seed<k>`."""
    metadata = {name: summary[name] for name in ("label", "role", "fingerprint", "test", "cost")}
    if summary.get("teacher"):
        metadata["teacher"] = {name: summary["teacher"][name] for name in ("label", "fingerprint", "checkpoint")}
    return _artifact(f"{summary['experiment']}-seed{summary['seed']}", folder.weights(summary["role"]), metadata)


def teacher_artifact(facts: Mapping[str, Any]) -> "wandb.Artifact":
    """A teacher's weights under the name that its own run gave them; a bare file's under its fingerprint.

    Same name and same content are one version of one artifact to W&B, whoever logs it, and whoever does so first.
    """
    weights = Path(facts["checkpoint"])
    home = RunFolder(weights.parent)
    if home.finished and home.weights(home.summary()["role"]) == weights:
        return model_artifact(home, home.summary())
    metadata = {name: facts[name] for name in ("label", "fingerprint", "test", "cost")}
    return _artifact(f"{facts['label']}-{facts['fingerprint'][:12]}", weights, metadata)


def _artifact(name: str, weights: Path, metadata: Mapping[str, Any]) -> "wandb.Artifact":
    allowed = re.sub(r"[^A-Za-z0-9_.-]", "-", f"model-{name}")
    artifact = wandb.Artifact(allowed, type="model", metadata=dict(metadata))
    artifact.add_file(str(weights), policy="immutable")  # not copied: a finished run's weights stay as they are
    return artifact


def _use(run: "Run", artifact: "wandb.Artifact") -> None:
    if run.offline:  # `use_artifact` refuses; this is the record that it would make, and the upload acts on it
        run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
    else:
        run.use_artifact(artifact)
