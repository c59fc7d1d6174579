"""Device files as W&B artifacts: a W&B run of their own, in the group of the run that they are made from."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from kdistill.base.packages import how_to_install
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import RunRecord
from kdistill.tracking.guarded_loggers import described
from kdistill.tracking.wandb_run import how_to_upload, open_run, staged_in

log = logging.getLogger(__name__)

_FIGURES = ("format", "verdict", "margin", "size_bytes", "latency_ms", "float_latency_ms", "test", "difference")


def log_devices(sections: Sequence[DictConfig], folder: RunFolder, manifests: Sequence[Mapping[str, Any]]) -> None:
    """Logs export folders to each W&B logger of a run, with its weights as what they come from.

    Whatever fails costs a warning: the files lie on disk.

    Args:
        sections: the run's, as its config has them.
        folder: the run's.
        manifests: of the exports, each with the `folder` that it lies in.
    """
    for section in sections:
        try:
            _log(section, folder, folder.record(), manifests)
        except ImportError as error:
            log.warning("W&B: the device files are no artifacts: %s", how_to_install(error.name or "wandb"))
        except Exception as error:  # of whatever W&B is made of
            log.warning("W&B: the device files are no artifacts: %s", described(error))


def _log(section: DictConfig, folder: RunFolder, record: RunRecord, manifests: Sequence[Mapping[str, Any]]) -> None:
    import wandb

    from kdistill.tracking.wandb_models import model_artifact, used

    home = Path(manifests[0]["folder"]).parent
    name = f"{record.experiment}-seed{record.seed}"
    opened = open_run(
        project=str(section.get("project", "kdistill")),
        name=f"{section.get('name') or name}-export",
        group=section.get("group") or record.experiment,
        job_type="export",
        tags=[*section.get("tags", ()), f"seed{record.seed}"],
        mode=section.get("mode"),
        save_dir=home,
    )
    with opened as run:
        offline = run.offline and not run.disabled
        if run.disabled:
            return
        with staged_in(home):
            used(run, model_artifact(folder, record))
            for manifest in manifests:
                allowed = re.sub(r"[^A-Za-z0-9_.-]", "-", f"device-{name}-{manifest['format']}")
                facts = {key: manifest[key] for key in _FIGURES} | {"fingerprint": record.fingerprint}
                artifact = wandb.Artifact(allowed, type="device", metadata=facts)
                place = Path(manifest["folder"])
                for file in sorted(path for path in place.rglob("*") if path.is_file()):
                    artifact.add_file(str(file), file.relative_to(place).as_posix())  # a copy: exports are replaced
                run.log_artifact(artifact, aliases=["latest", manifest["verdict"]])
        run.summary.update({manifest["format"]: {key: manifest[key] for key in _FIGURES} for manifest in manifests})
    if offline:
        log.info("W&B: to upload the device files: %s", how_to_upload(home))
