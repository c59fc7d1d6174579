"""The options `conf/loss/` gives: each is built as it says, and names all that its class takes."""

from inspect import signature
from pathlib import Path

import pytest
import torch
from hydra.utils import get_object
from omegaconf import OmegaConf
from weighted import weighted

from kdistill.building.losses import build_loss
from kdistill.config import compose
from kdistill.config.paths import conf_dir
from kdistill.config.sections import SECTION_KEYS, SUPPLIED
from kdistill.losses.base import DistillBatch
from kdistill.losses.standardize import LogitLoss

OPTIONS = {path.stem: OmegaConf.load(path) for path in sorted(Path(conf_dir(), "loss").glob("*.yaml"))}
OWN = {"_target_", *SECTION_KEYS["loss"]}  # what is no argument of the class
LOGIT = [name for name, option in OPTIONS.items() if issubclass(get_object(option._target_), LogitLoss)]


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_names_all_that_its_class_takes(name: str) -> None:
    takes = set(signature(get_object(OPTIONS[name]._target_)).parameters) - set(SUPPLIED["loss"])
    assert takes - OWN == {str(key) for key in OPTIONS[name]} - OWN


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "several"])
def test_an_options_values_are_the_defaults_of_its_class(name: str) -> None:
    """But for what makes label smoothing another option of the same class; `several` is a list without defaults."""
    takes = signature(get_object(OPTIONS[name]._target_)).parameters
    given = {str(key): value for key, value in OPTIONS[name].items() if key not in OWN}
    expected = {key: takes[key].default for key in given}
    if name == "label_smoothing":
        assert given.pop("label_smoothing") == 0.1 and expected.pop("label_smoothing") == 0.0
    assert given == {key: list(value) if isinstance(value, tuple) else value for key, value in expected.items()}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_needs_the_batch_can_ask_for_the_whole_one(name: str) -> None:
    """Where it remembers each sample it always sees the whole one, and there is nothing to ask."""
    option = OPTIONS[name]
    loss = build_loss(option, [2, 4], 6, 15)
    assert ("gather" in option) == (bool(loss.needing_batch) and not loss.gathers)
    asked = build_loss(OmegaConf.merge(option, {"gather": True}), [2, 4], 6, 15)
    assert asked.gathers == bool(loss.needing_batch)


@pytest.mark.parametrize("name", LOGIT)
def test_an_option_weighs_the_loss_of_its_name_with_alpha(name: str) -> None:
    loss = build_loss(OPTIONS[name])
    alpha = OPTIONS[name].alpha
    assert loss.weights == pytest.approx({"ce": 1 - alpha, name: alpha})
    logits, target = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    seen = DistillBatch(logits, target, target, teacher_logits=-logits, distillation_logits=logits)
    total, parts = weighted(loss, seen)
    assert torch.isfinite(total) and set(parts) == {"ce", name}


@pytest.mark.parametrize("name", LOGIT)
def test_standardize_can_be_turned_on_from_the_command_line(name: str) -> None:
    cfg, problems = compose.check_overrides(["+experiment=mnist_distill", f"loss={name}", "loss.standardize=true"])
    assert problems == [] and cfg is not None
    assert build_loss(cfg.loss).parts[name].standardize is True


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("loss.beta=2", None),
        ("loss.beta=-2", "loss.beta: must be greater than or equal to 0, not -2"),
        ("loss.warmup_epochs=0.5", "loss.warmup_epochs: must be a whole number"),
        ("loss.standardize=7", "loss.standardize: must be"),
    ],
)
def test_an_option_of_dkd_is_checked_before_anything_runs(override: str, said: str | None) -> None:
    found = compose.check_overrides(["+experiment=mnist_distill", "loss=dkd", override])[1]
    assert (found == []) if said is None else any(said in problem for problem in found), found


def test_label_smoothing_is_a_control_without_a_teacher() -> None:
    assert compose.check_overrides(["+experiment=mnist_scratch", "loss=label_smoothing"])[1] == []
    loss = build_loss(OPTIONS["label_smoothing"])
    assert loss.weights == {"ce": 1.0} and loss.parts["ce"].label_smoothing == 0.1


@pytest.mark.parametrize(
    ("overrides", "weights"),
    [
        (["loss.weights.kd=2"], {"ce": 0.5, "kd": 1.0, "dist": 0.5}),
        (
            ["+loss.parts.mse={_target_: kdistill.losses.mse.MSE}", "+loss.weights.mse=0.1"],
            {"ce": 0.5, "kd": 0.5, "dist": 0.5, "mse": 0.05},
        ),
        (["~loss.parts.dist", "~loss.weights.dist", "loss.alpha=0.9"], {"ce": 0.1, "kd": 0.9}),
    ],
)
def test_several_losses_are_listed_with_their_weights(overrides: list[str], weights: dict[str, float]) -> None:
    cfg, problems = compose.check_overrides(["+experiment=mnist_distill", "loss=several", *overrides])
    assert problems == [] and cfg is not None
    assert build_loss(cfg.loss).weights == pytest.approx(weights)
