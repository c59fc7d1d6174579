"""What a run would do: all that is decided before the first step. Nothing is trained, and no folder stays."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from kdistill.base.cost import Cost
from kdistill.building.instantiate import network_label
from kdistill.config.monitors import chosen_by
from kdistill.config.replaying import teacher_switch
from kdistill.config.trainer_arguments import epochs_of
from kdistill.config.validate import validate
from kdistill.measuring.cost import count_cost
from kdistill.models.freeze import describe_trainable
from kdistill.models.taps import layer_shapes
from kdistill.modules.fit_checks import needing_all_logits
from kdistill.modules.layers import describe_layers
from kdistill.replay.plan import decide
from kdistill.reporting.screen import flops, print_plan
from kdistill.runs.folder import RunFolder
from kdistill.teachers.dry_run import DryRun, dry_run
from kdistill.teachers.find import origins
from kdistill.training.plan import TrainingPlan, make_plan
from kdistill.training.stored_form import Stored


def preview(config: DictConfig, path: Path) -> None:
    """Prints the plan of a run.

    Args:
        config: a composed `train` config.
        path: where its folder would be.

    Raises:
        UserError: what `run` would refuse before it trains.
    """
    validate(config)
    folder = RunFolder(path)
    folder.check(config)
    plain = copy.deepcopy(config)
    plain.trainer.tune = "off"  # it measures for seconds, and keeps what it found
    plan = make_plan(plain)
    tried = dry_run(config, plan.data.arrays)
    print_plan(str(config.name), list(plan_rows(config, plan, tried, folder)))


def plan_rows(config: DictConfig, plan: TrainingPlan, tried: DryRun, folder: RunFolder) -> Iterator[tuple[str, str]]:
    """What is decided of a run, by name.

    Args:
        config: the run's.
        plan: made without a probe of what is fastest.
        tried: the run's networks and loss, joined on random weights.
        folder: the run's.
    """
    arrays, epochs = plan.data.arrays, epochs_of(config)
    yield "role", f"{config.role}, seed {config.seed}"
    yield "data", f"{arrays.describe()}; images of {' x '.join(map(str, arrays.image_shape))}"
    cost = count_cost(tried.network, arrays.image_shape, device=plan.device)
    yield plan.kind, f"{plan.label}: {_cost(cost)}; trains {describe_trainable(plan.network)}"
    for section, peer in zip(config.peers, plan.peers, strict=True):
        peer_cost = count_cost(peer.network, arrays.image_shape, device=plan.device)
        yield "peer", f"{network_label(section)}: {_cost(peer_cost)}"
    for label, origin in origins(config, arrays) if config.role == "distill" else ():
        yield "teacher", f"{label}: {origin}"
    if tried.teacher is not None:
        yield "its cost", _cost(count_cost(tried.teacher, arrays.image_shape, device=plan.device))
    loss = tried.loss
    weights = " + ".join(f"{weight:g} {name}" for name, weight in loss.weights.items())
    yield "loss", "; ".join([weights, *describe_layers(loss)])
    yield "optimizer", _section(config.optimizer)
    yield "scheduler", _section(config.scheduler) if config.scheduler else "none: the learning rate stays"
    measured = "" if config.trainer.tune == "off" else "; what is fastest is measured as the run starts (trainer.tune)"
    yield "computed", f"on {plan.device} in {plan.compute_mode}{measured}"
    steps = plan.data.train_dataloader().steps
    yield "steps", f"{epochs} epochs of {steps:,}, of up to {plan.data.serving.batch_size:,} images each"
    if tried.teacher is not None:
        yield "replay", _replay(config, plan, tried)
    monitor, mode = chosen_by(OmegaConf.to_container(config, resolve=True)) or ("", "")  # type: ignore[arg-type]
    yield "chosen by", f"{monitor}, the {'highest' if mode == 'max' else 'lowest'}"
    goes_on = f", going on from {folder.last_checkpoint}" if folder.last_checkpoint else ""
    yield "folder", f"{folder.path}{goes_on}"


def _cost(cost: Cost) -> str:
    return f"{cost.params_total:,} parameters, {flops(cost)} FLOPs an image"


def _section(section: DictConfig) -> str:
    """A target and its arguments."""
    plain: Any = OmegaConf.to_container(section, resolve=True)
    arguments = ", ".join(f"{key}={value}" for key, value in plain.items() if not key.startswith("_"))
    return f"{plain['_target_'].rpartition('.')[2]}({arguments})"


def _replay(config: DictConfig, plan: TrainingPlan, tried: DryRun) -> str:
    """Whether the teacher's answers would be stored, and how much that is."""
    assert tried.teacher is not None
    if not plan.data.is_numbered:
        return "nothing is stored: the data module serves its own batches, whose samples have no numbers"
    shape, layers = plan.data.arrays.image_shape, tried.loss.teacher_layers
    features, logits = layer_shapes(tried.teacher, layers, shape, owner="teacher")
    samples = len(plan.data.pool)
    shapes = {**features, "its logits": logits}
    kind = Stored(config, "its logits", all_classes=bool(needing_all_logits(tried.loss)))
    store = kind.store("plan", {}, shapes, samples)
    shown = plan.data.views_shown(epochs_of(config))
    decision = decide(
        teacher_switch(config.replay),
        store,
        sorted(set(shown)),
        shows=len(shown),
        max_gb=config.replay.max_gb,
        shared=False,
        what="the teacher's answers",
        share=plan.data.share_shown,
        smaller=kind.smaller("plan", {}, shapes, samples),
    )
    if not decision.replay:
        return f"the teacher's answers are not stored: {decision.reason}"
    return f"the teacher's answers are stored in {config.replay.cache} ({kind.form(shapes)}): {decision.reason}"
