"""The arms of a comparison: one composed distill experiment, and its controls without the teacher."""

import copy
from dataclasses import fields
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from kdistill.base.errors import UserError
from kdistill.base.storage import digest, write_text
from kdistill.config.key_identity import SAME_COMPARISON, that_count
from kdistill.config.paths import conf_dir
from kdistill.config.schema import TrainConfig
from kdistill.config.tree import plain
from kdistill.config.validate import problems, report

DISTILLED = "distilled"
_SMOOTHING = 0.1
_DEFAULTS = ["train_schema", "_self_", {"door": "train"}, {"override hydra/job_logging": "screen"}]


def compose_arms(config: DictConfig) -> dict[str, DictConfig]:
    """The `train` configs of the distilled student and of the controls that are asked for, by arm.

    A control is the same config but for role, loss, teacher and peers: its loss is the part with the labels of the
    distilled student's loss (`loss.ce`), as in distilling with alpha = 0; `smoothed` adds label smoothing of 0.1.

    Args:
        config: a composed `compare` config.

    Raises:
        UserError: the experiment does not distill, or a control's config is wrong.
    """
    if config.role not in ("distill", "mutual"):
        wrong = (
            f"role={config.role} has nothing to prove: compare needs an experiment that distills (role=distill), or "
            "whose students teach each other (role=mutual)"
        )
        raise UserError(report([wrong]))
    own = OmegaConf.masked_copy(config, [field.name for field in fields(TrainConfig)])
    schema = OmegaConf.structured(TrainConfig)
    OmegaConf.set_struct(schema.trainer, False)  # any argument of Lightning's Trainer may stand there
    distilled = OmegaConf.merge(schema, OmegaConf.to_container(own, resolve=False))
    assert isinstance(distilled, DictConfig)
    arms = {DISTILLED: distilled, **{name: _control(distilled, name) for name in config.controls}}
    for name, arm in arms.items():
        arm.name = f"{config.name}-{name}"
    if found := [f"arm {name}: {problem}" for name, arm in arms.items() for problem in problems(arm)]:
        raise UserError(report(found))
    return arms


def _control(distilled: DictConfig, name: str) -> DictConfig:
    control = copy.deepcopy(distilled)
    control.role, control.teacher, control.peers, control.replay.export = "student", None, [], None
    if distilled.dataset.get("unlabeled"):
        control.dataset.unlabeled = None  # nothing of it learns from pictures without labels
    labels = distilled.loss.get("ce") or OmegaConf.load(Path(conf_dir(), "loss", "ce.yaml"))
    control.loss = OmegaConf.merge(labels, {"label_smoothing": _SMOOTHING} if name == "smoothed" else {})
    return control


def arms_key(distilled: DictConfig) -> str:
    """What identifies a comparison: equal for configs that train the same, whatever the seeds."""
    return digest(that_count(plain(distilled), SAME_COMPARISON))[:8]


def write_arm(folder: Path, name: str, arm: DictConfig) -> None:
    """Writes an arm as a primary config: `kdistill.train --config-dir <folder> --config-name <name> seed=0` runs it.

    Not resolved: `dataset.seed` and the like must follow the seed that is given.
    """
    text = OmegaConf.to_yaml(OmegaConf.create({"defaults": _DEFAULTS})) + OmegaConf.to_yaml(arm, resolve=False)
    write_text(folder / f"{name}.yaml", text)
