"""Model files as W&B artifacts, with what taught what: the teacher's file is an input of the student's run."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wandb

from kdistill.runs.folder import RunFolder
from kdistill.runs.record import RunRecord, TeacherFacts
from kdistill.runs.record_file import as_plain

if TYPE_CHECKING:
    from wandb import Run


def log_model(run: "Run", folder: RunFolder, record: RunRecord) -> None:
    """Logs a finished run's weights, and what taught them as used by this run."""
    for facts in record.teacher.each if record.teacher else ():
        used(run, teacher_artifact(facts))
    run.log_artifact(model_artifact(folder, record))


def model_artifact(folder: RunFolder, record: RunRecord) -> "wandb.Artifact":
    """The chosen weights of a finished run, `model-<experiment>-seed<k>`."""
    plain = as_plain(record)
    metadata = {name: plain[name] for name in ("label", "role", "fingerprint", "test", "cost")}
    if record.teacher is not None:
        metadata["teacher"] = {name: plain["teacher"][name] for name in ("label", "fingerprint", "checkpoint")}
    return _artifact(f"{record.experiment}-seed{record.seed}", folder.weights(record.role), metadata)


def teacher_artifact(facts: TeacherFacts) -> "wandb.Artifact":
    """A teacher's weights under the name that its own run gave them; a bare file's under its fingerprint.

    Same name and same content are one version of one artifact to W&B, whoever logs it, and whoever does so first.
    """
    weights = Path(facts.checkpoint)
    home = RunFolder(weights.parent)
    if home.finished and home.weights(home.record().role) == weights:
        return model_artifact(home, home.record())
    plain = as_plain(facts)
    metadata = {name: plain[name] for name in ("label", "fingerprint", "test", "cost") if name in plain}
    return _artifact(f"{facts.label}-{facts.fingerprint[:12]}", weights, metadata)


def _artifact(name: str, weights: Path, metadata: Mapping[str, Any]) -> "wandb.Artifact":
    allowed = re.sub(r"[^A-Za-z0-9_.-]", "-", f"model-{name}")
    artifact = wandb.Artifact(allowed, type="model", metadata=dict(metadata))
    artifact.add_file(str(weights), policy="immutable")  # not copied: a finished run's weights stay as they are
    return artifact


def used(run: "Run", artifact: "wandb.Artifact") -> None:
    if run.offline:  # `use_artifact` refuses; this is the record that it would make, and the upload acts on it
        run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
    else:
        run.use_artifact(artifact)
