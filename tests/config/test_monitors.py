"""What is monitored has a known name and the direction of its metric, whoever monitors it."""

import re
from typing import Any

import pytest

from kdistill.base.metric_catalogue import METRICS, better, validated
from kdistill.config.monitors import chosen_by, monitor_problems, plateau_by, with_mode
from kdistill.evidence.figures import FIGURES
from kdistill.measuring.metrics import agreement, measure

CHECKPOINT = "kdistill.training.callbacks.checkpoints.BestCheckpoint"
STOP = "pytorch_lightning.callbacks.EarlyStopping"
STEP, PLATEAU = (f"torch.optim.lr_scheduler.{name}" for name in ("StepLR", "ReduceLROnPlateau"))
BETTER = {
    "val/accuracy": "max", "val/balanced_accuracy": "max", "val/f1": "max", "val/auroc": "max",
    "val/average_precision": "max", "val/nll": "min", "val/ece": "min",
}  # fmt: skip


def tree(**sections: Any) -> dict[str, Any]:
    return {"loss": {"_target_": "kdistill.losses.logit.KD"}, **sections}


def monitoring(target: str, **options: Any) -> dict[str, Any]:
    return tree(callbacks={"any_name": {"_target_": target, **options}})


def test_the_catalogue_holds_what_is_measured_and_nothing_else() -> None:
    import torch

    logits = torch.randn(6, 3)
    keys = {*measure(logits, torch.arange(6) % 3), *agreement(logits, logits)}
    assert keys == set(METRICS)
    assert {f"val/{name}" for name in FIGURES} == set(validated()) == set(BETTER)


def test_evidence_and_catalogue_agree_on_directions() -> None:
    from kdistill.evidence.measures import AGREEMENT, MEASURES

    for key, found in (MEASURES | AGREEMENT).items():
        assert (METRICS[key].better == "max") == (found.better == 1), key
        assert METRICS[key].label == found.label


@pytest.mark.parametrize("target", [CHECKPOINT, STOP, "pytorch_lightning.callbacks.ModelCheckpoint"])
@pytest.mark.parametrize("name", BETTER)
def test_the_mode_follows_the_metric_and_its_contrary_is_refused(target: str, name: str) -> None:
    assert better(name) == BETTER[name]
    section = {"_target_": target, "monitor": name}
    assert with_mode(section)["mode"] == BETTER[name]
    assert not list(monitor_problems(monitoring(target, monitor=name)))
    assert not list(monitor_problems(monitoring(target, monitor=name, mode=BETTER[name])))
    contrary = {"max": "min", "min": "max"}[BETTER[name]]
    (problem,) = monitor_problems(monitoring(target, monitor=name, mode=contrary))
    assert f"callbacks.any_name.mode={contrary}" in problem and f"of {name} is better" in problem


def test_every_loss_is_better_low() -> None:
    for name in ("train/loss", "train/ce", "train/kd"):
        assert better(name) == "min" and not list(monitor_problems(monitoring(STOP, monitor=name)))


@pytest.mark.parametrize(
    ("monitor", "mend"),
    [
        ("val/acuracy", "did you mean 'val/accuracy'?"),
        ("val_acc", "did you mean 'val/accuracy'?"),
        ("valid/top1", "did you mean 'val/accuracy'?"),
        ("accuracy", "did you mean 'val/accuracy'?"),
        ("val_loss", "did you mean 'val/nll'?"),
        ("val/loss", "did you mean 'val/nll'?"),
        ("val/auc", "did you mean 'val/auroc'?"),
        ("test/accuracy", "test is used once"),
        ("train/accuracy", "no such figure is logged"),
        ("train/kld", "did you mean 'train/kd'?"),
        ("epoch", "a count says nothing of how good a network is; give one of val/accuracy"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(monitor: str, mend: str) -> None:
    for target in (CHECKPOINT, STOP):
        (problem,) = monitor_problems(monitoring(target, monitor=monitor))
        assert mend in problem
    (problem,) = monitor_problems(tree(scheduler={"_target_": PLATEAU, "monitor": monitor}))
    assert mend in problem


def test_what_is_neither_better_high_nor_low_needs_a_mode() -> None:
    (problem,) = monitor_problems(monitoring(STOP, monitor="lr-AdamW"))
    assert "say min or max" in problem
    assert not list(monitor_problems(monitoring(STOP, monitor="lr-AdamW", mode="min")))
    (problem,) = monitor_problems(monitoring(STOP, monitor="val/nll", mode="auto"))
    assert "must be min or max, not 'auto'" in problem


def test_a_scheduler_waits_for_what_chooses_the_checkpoint() -> None:
    choosing = {"mine": {"_target_": CHECKPOINT, "monitor": "val/nll"}}
    assert chosen_by(tree(callbacks=choosing)) == ("val/nll", "min")
    assert plateau_by(tree(callbacks=choosing, scheduler={"_target_": PLATEAU})) == "val/nll"
    assert plateau_by(tree(callbacks=choosing, scheduler={"_target_": PLATEAU, "monitor": "val/f1"})) == "val/f1"
    (problem,) = monitor_problems(tree(callbacks=choosing, scheduler={"_target_": PLATEAU, "mode": "max"}))
    assert re.match("scheduler.mode=max: less of val/nll is better", problem)
    (problem,) = monitor_problems(tree(scheduler={"_target_": STEP, "monitor": "val/nll"}))
    assert "waits for no figure" in problem
