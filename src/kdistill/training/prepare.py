"""From a plan to what can be trained: the teacher is there, loss and networks are joined, answers are stored."""

import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from kdistill.base.cost import Cost
from kdistill.base.types import Role
from kdistill.building.instantiate import network_label
from kdistill.measuring.cost import count_cost
from kdistill.models.faster import make_faster
from kdistill.models.freeze import describe_trainable
from kdistill.modules.base import ClassifierModule
from kdistill.modules.distill import DistillModule
from kdistill.modules.distill import Teacher as Answering
from kdistill.modules.dot import DOT
from kdistill.modules.layers import bind_loss, describe_layers
from kdistill.modules.mutual import MutualModule
from kdistill.modules.student import StudentModule
from kdistill.modules.teacher import FrozenTeacher, TeacherModule
from kdistill.replay.answers import KnownAnswers
from kdistill.screen.progress import progress
from kdistill.teachers.find import Teacher, Train, find_teacher
from kdistill.training.answers_export import export_answers
from kdistill.training.compute_mode import ComputeMode
from kdistill.training.forecast import expect_student
from kdistill.training.plan import TrainingPlan
from kdistill.training.replays import replay_known, replay_prefix, replay_teacher

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """What is ready to train.

    Attributes:
        module: with the network, its loss, and who teaches it.
        teacher: the frozen one; None where there is none.
        cost: of the network, with what its loss put on it.
        compute_mode: how it trains; the plan's, but for what the loss rules out.
        replay_seconds: what binding, counting and filling the stores took.
    """

    module: ClassifierModule
    teacher: Teacher | None
    cost: Cost
    compute_mode: ComputeMode
    replay_seconds: float


def prepare(config: DictConfig, plan: TrainingPlan, train: Train) -> Prepared:
    """Finds or trains the teacher, binds the loss, stores what is replayed and makes the module.

    Args:
        config: the run's.
        plan: the run's; its network and its data are settled for training.
        train: runs a config in a folder, for a teacher that is not there yet.

    Raises:
        UserError: the teacher does not fit or knows nothing, or what is to be replayed cannot be stored.
    """

    def train_teacher(recipe: DictConfig, place: Path) -> object:
        expect_student(config, plan.network, plan.data, plan.compute_mode, plan.device)
        return train(recipe, place)

    teacher = None
    if config.role == "distill":
        teacher = find_teacher(config, plan.data, plan.device, train_teacher, plan.answers)
    progress().over("answers")
    started = time.perf_counter()
    answering = _bound(config, plan, teacher)
    if teacher is not None and answering is not None:
        precision = plan.compute_mode.precision
        export_answers(config, teacher, answering, plan.data, device=plan.device, precision=precision)
    for line in describe_layers(plan.options.loss):
        log.info(line)
    mode = plan.compute_mode
    two_passes = plan.options.optimizer.func is DOT if isinstance(plan.options.optimizer, partial) else False
    if plan.options.loss.student_layers or two_passes:
        mode = replace(mode, compile=None)  # a compiled network may leave out hooks, and goes backwards once alone
    cost = count_cost(plan.network, plan.data.arrays.image_shape, device=plan.device)
    for one in (plan.network, *(peer.network for peer in plan.peers)):
        make_faster(one, precision=mode.precision, device=plan.device)
        if mode.compile:
            one.compile(mode=mode.compile)
    log.info(f"{plan.label}: {cost.flops:,} FLOPs; on {plan.device} in {mode}")
    log.info(f"{plan.label}: trains {describe_trainable(plan.network)}")
    module = _module(config.role, plan, answering)
    cut = not plan.peers and replay_prefix(
        config, plan.kind, module, plan.data, device=plan.device, precision=mode.precision
    )
    plan.data.serves_images = not cut or isinstance(answering, FrozenTeacher)
    return Prepared(module, teacher, cost, mode, time.perf_counter() - started)


def _bound(config: DictConfig, plan: TrainingPlan, teacher: Teacher | None) -> Answering | None:
    """Binds the loss to the networks; returns who answers for the teacher: itself, or a store."""
    loss, shape = plan.options.loss, plan.data.arrays.image_shape
    if teacher is None:
        if not plan.peers:
            bind_loss(loss, plan.network, None, shape, student_name=f"{plan.kind}={plan.label}")
        return None
    pl.seed_everything(config.seed, workers=True, verbose=False)  # training a teacher drew from the generators
    bind_loss(
        loss,
        plan.network,
        teacher.module and teacher.module.network,
        shape,
        student_name=f"student={plan.label}",
        teacher_name=f"teacher={network_label(config.teacher)}",
    )
    options: dict[str, Any] = {"loss": loss, "device": plan.device, "precision": plan.compute_mode.precision}
    if isinstance(teacher.answers, KnownAnswers):
        return replay_known(config, teacher.answers, plan.data, **options)
    teacher.answers.layers = loss.teacher_layers
    return replay_teacher(config, teacher.answers, plan.data, **options)


def _module(role: Role, plan: TrainingPlan, answering: Answering | None) -> ClassifierModule:
    options = vars(plan.options)
    if answering is not None:
        return DistillModule(plan.network, teacher=answering, **options)
    if plan.peers:
        return MutualModule(plan.network, peers=plan.peers, **options)
    return (TeacherModule if role == "teacher" else StudentModule)(plan.network, **options)
