"""What callbacks and schedulers monitor: its name, and which way it is better. Nothing here imports torch.

Nobody need say `mode`: it follows the metric. A mode that contradicts the metric is a mistake.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kdistill.base.errors import UserError
from kdistill.base.metric_catalogue import better, validated
from kdistill.base.spelling import did_you_mean
from kdistill.config.sections import UNKNOWN
from kdistill.config.signature import descends, signature_of
from kdistill.config.tree import Leaves, Tree

_COUNTS = ("epoch", "step")
_SYNONYMS = {
    "loss": "nll", "cross_entropy": "nll", "ce": "nll", "acc": "accuracy", "acc1": "accuracy", "top1": "accuracy",
    "bal_acc": "balanced_accuracy", "auc": "auroc", "roc_auc": "auroc", "ap": "average_precision",
    "map": "average_precision", "f1_score": "f1",
}  # fmt: skip


def keeps_best(callback: Any) -> bool:
    """Whether a callback's section chooses the checkpoint: Lightning's ModelCheckpoint or a kind of it."""
    target = callback.get("_target_") if isinstance(callback, Mapping) else None
    return isinstance(target, str) and descends(target, "ModelCheckpoint")


def chosen_by(tree: Tree) -> tuple[str, str] | None:
    """The figure by which a run chooses its checkpoint, and whether `max` or `min` of it is better.

    Args:
        tree: a config as plain dicts.

    Returns:
        Those of the first callback that keeps the best weights; None where it takes the last epoch, or is not there.
    """
    callbacks = tree.get("callbacks")
    for callback in callbacks.values() if isinstance(callbacks, Mapping) else ():
        if keeps_best(callback) and isinstance(name := callback.get("monitor"), str):
            return name, str(callback.get("mode") or better(name) or "min")
    return None


def plateau_by(tree: Tree) -> str:
    """The figure that ReduceLROnPlateau waits for: its own `monitor`, else what chooses the checkpoint."""
    own = (tree.get("scheduler") or {}).get("monitor")
    by = chosen_by(tree)
    return str(own or (by[0] if by else "train/loss"))


def with_mode(section: Leaves) -> Leaves:
    """A callback's section with the mode that its monitored figure has, where the section leaves that open."""
    if section.get("mode") is not None or not _has_mode(section):
        return section
    own = {key: value for key, value in section.items() if key != "mode"}
    name = section.get("monitor")
    return {**own, "mode": better(name)} if isinstance(name, str) and better(name) else own


def waits(scheduler: Any) -> bool:
    """Whether a scheduler's section is one that waits for a figure to stop getting better."""
    target = scheduler.get("_target_") if isinstance(scheduler, Mapping) else None
    return isinstance(target, str) and descends(target, "ReduceLROnPlateau")


def monitor_problems(tree: Tree) -> Iterator[str]:
    """What is wrong with what is monitored, by callbacks under whatever name and by the scheduler."""
    for name, callback in (tree.get("callbacks") or {}).items():
        if isinstance(callback, dict) and isinstance(monitor := callback.get("monitor"), str):
            yield from _problems(f"callbacks.{name}", monitor, callback, tree, _has_mode(callback))
    scheduler = tree.get("scheduler")
    if not isinstance(scheduler, dict):
        return
    if waits(scheduler):
        yield from _problems("scheduler", plateau_by(tree), scheduler, tree, True)
        if scheduler.get("interval") == "step":
            yield "scheduler.interval=step: ReduceLROnPlateau waits for a figure of each epoch: leave it out"
    elif scheduler.get("monitor", UNKNOWN) not in (UNKNOWN, None):
        yield (
            f"scheduler.monitor={scheduler['monitor']}: {scheduler.get('_target_')} waits for no figure; "
            "torch.optim.lr_scheduler.ReduceLROnPlateau does (scheduler=plateau): leave it out"
        )


def _problems(key: str, monitor: str, section: Tree, tree: Tree, has_mode: bool) -> Iterator[str]:
    if not _is_logged(monitor, tree):
        yield f"{key}.monitor={monitor}: {_unknown(monitor, tree)}"
        return
    mode, right = section.get("mode"), better(monitor)
    if not has_mode or mode is UNKNOWN:
        return
    if mode not in (None, "min", "max"):
        yield f"{key}.mode: must be min or max, not '{mode}'; leave it out, it follows {monitor}"
    elif mode is None and right is None:
        yield f"{key}.mode: say min or max, for '{monitor}' is neither better high nor low"
    elif mode is not None and right is not None and mode != right:
        less = "less" if right == "min" else "more"
        yield f"{key}.mode={mode}: {less} of {monitor} is better, so mode={mode} would look for the worst; leave it out"


def _is_logged(name: str, tree: Tree) -> bool:
    parts = _train_names(tree)
    known = name in (*validated(), *(parts or ())) or name.startswith("lr-")
    return known or (parts is None and name.startswith("train/"))


def _train_names(tree: Tree) -> tuple[str, ...] | None:
    """What training logs of its loss: the whole and its parts; None where the parts are known at run time only."""
    loss = tree.get("loss")
    name = str(loss.get("_target_", "")).rpartition(".")[2] if isinstance(loss, dict) else ""
    if not name[:1].isupper():  # a function makes it
        return None
    own = "ce" if name == "CrossEntropy" else name.lower()
    return tuple(f"train/{part}" for part in dict.fromkeys(("loss", "ce", own)))


def _unknown(name: str, tree: Tree) -> str:
    key = re.sub(r"^(val|valid|validation|dev|eval|test)[/_-]", "", name.lower())
    known = (*validated(), *(_train_names(tree) or ("train/loss",)))
    same = f"val/{_SYNONYMS.get(key, key)}"
    near = f"; did you mean '{same}'?" if same in known else did_you_mean(name, known)
    if name in _COUNTS:
        return f"a count says nothing of how good a network is; give one of {', '.join(known)}"
    if name.startswith("test"):
        return f"test is used once, after validation has chosen{near}"
    return f"no such figure is logged{near} (there are: {', '.join(known)})"


def _has_mode(section: Tree) -> bool:
    """Whether a callback takes `mode`; where its source cannot be read, whether one is given."""
    try:
        signature = signature_of(str(section.get("_target_")))
    except UserError:
        return False
    return "mode" in section if signature is None else "mode" in signature.parameters
