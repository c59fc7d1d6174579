"""Classes that validation or test lacks, and what of the figures that leaves without a value."""

import logging
from typing import Any

from omegaconf import DictConfig, OmegaConf

from kdistill.base.classes import listed
from kdistill.base.errors import UserError
from kdistill.config.monitors import plateau_by, waits
from kdistill.data.arrays import ImageArrays, Split
from kdistill.evidence.figures import absent, undefined

log = logging.getLogger(__name__)


def say_absent(name: str, split: Split, class_names: tuple[str, ...]) -> None:
    """One line where a partition lacks classes.

    Args:
        name: of the partition.
        split: its samples.
        class_names: all that there are.
    """
    target = split.target.cpu().numpy()
    if lacking := absent(target, class_names):
        missing = undefined(target, len(class_names))
        rest = f"; {' and '.join(missing)} can't be had of one class alone" if missing else ""
        log.warning(f"{name} has no image of {listed(lacking)}: means over the classes are over those it has{rest}")


def check_presence(config: DictConfig, arrays: ImageArrays) -> None:
    """Logs which classes validation and test lack; refuses a run that would choose by a figure without a value.

    Raises:
        UserError: naming what is monitored and what validation lacks.
    """
    say_absent("validation", arrays.val, arrays.class_names)
    say_absent("test", arrays.test, arrays.class_names)
    target = arrays.val.target.cpu().numpy()
    missing = {f"val/{name}" for name in undefined(target, arrays.num_classes)}
    lacking = listed(absent(target, arrays.class_names))
    for key, monitored in _monitors(config).items():
        if monitored in missing:
            raise UserError(
                f"{key}={monitored}: validation has no image of {lacking}, and of one class alone {monitored} has no "
                "value; monitor val/nll or val/accuracy, or give validation images of every class"
            )
    if config.decision_threshold == "f1" and arrays.num_classes == 2 and 1 not in target:
        raise UserError(
            f"decision_threshold=f1: validation has no image of {arrays.class_names[1]}, the positive class, so F1 "
            "chooses nothing; give such images, or take half"
        )


def _monitors(config: DictConfig) -> dict[str, str]:
    """What is monitored, by the key that says so."""
    tree: Any = OmegaConf.to_container(config, resolve=True)
    found = {
        f"callbacks.{name}.monitor": callback["monitor"]
        for name, callback in (tree.get("callbacks") or {}).items()
        if isinstance(callback, dict) and isinstance(callback.get("monitor"), str)
    }
    if waits(tree.get("scheduler")):
        found["scheduler.monitor"] = plateau_by(tree)
    return found
