"""What a run and the training of its teachers would join, joined first on random weights: a misfit costs seconds."""

import logging
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig
from torch import nn

from kdistill.building.instantiate import network_label
from kdistill.building.losses import build_loss
from kdistill.building.networks import build_bare_network, input_normalisation
from kdistill.building.restore import Restored, joined, restore
from kdistill.config.specs import are_answers, trained_kind
from kdistill.config.validate import validate
from kdistill.data.arrays import ImageArrays
from kdistill.losses.base import WeightedSum
from kdistill.modules.fit_checks import (
    check_loss_of_answers,
    check_loss_of_data,
    check_loss_of_peers,
    check_loss_of_several,
    check_loss_of_top_k,
)
from kdistill.modules.layers import bind_loss
from kdistill.replay.forms import classes_kept
from kdistill.runs.record import Normalisation
from kdistill.teachers.recipe import recipe_of, teacher_configs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DryRun:
    """What a run would join, on random weights.

    Attributes:
        network: that the config trains, as its loss leaves it.
        teacher: the network, or the members as one; None where there is none, or its answers alone.
        loss: bound to them.
    """

    network: nn.Module
    teacher: nn.Module | None
    loss: WeightedSum


def dry_run(config: DictConfig, arrays: ImageArrays) -> DryRun:
    """Fits networks and loss to each other as a run of this config would, down the whole chain of its teachers.

    No weights are read or fetched and nothing is trained or written. It draws from torch's generator, so whoever needs
    its state seeds after it.

    Args:
        config: of the run, or of the recipe that trains its teacher.
        arrays: the run's data, which its teachers are trained on too.

    Raises:
        UserError: two of the networks, or a network and a loss, do not fit each other; or a recipe is wrong.
    """
    validate(config)
    kind = trained_kind(config)
    sizes: dict[str, Any] = {"num_classes": arrays.num_classes, "image_shape": arrays.image_shape}
    network = build_bare_network(config[kind], kind, **sizes, say=log.debug)
    loss = build_loss(config.loss, arrays.class_counts, len(arrays.train), arrays.annotators)
    check_loss_of_data(loss, arrays.train, unlabelled=bool(config.dataset.get("unlabeled")))
    if config.peers:
        check_loss_of_peers(loss)
        return DryRun(network, None, loss)
    if config.role == "distill" and "members" in config.teacher:
        check_loss_of_several(loss)
    if config.role == "distill" and are_answers(config.teacher):
        check_loss_of_answers(loss)
    if config.role == "distill" and config.replay.teacher != "off":
        replay = config.replay
        if (k := classes_kept(replay.keep, replay.k, arrays.num_classes, replay.dtype)) is not None:
            check_loss_of_top_k(loss, k)
    teacher = _teacher(config, arrays) if config.role == "distill" and not are_answers(config.teacher) else None
    bind_loss(
        loss,
        network,
        teacher,
        arrays.image_shape,
        student_name=f"{kind}={network_label(config[kind])}",
        teacher_name=f"teacher={network_label(config.teacher)}" if config.role == "distill" else "",
    )
    return DryRun(network, teacher, loss)


def _teacher(config: DictConfig, arrays: ImageArrays) -> nn.Module:
    members = [_one_teacher(own, arrays) for own in teacher_configs(config)]
    return joined(config.teacher, members) if "members" in config.teacher else members[0].network


def _one_teacher(config: DictConfig, arrays: ImageArrays) -> Restored:
    if config.teacher.checkpoint is not None:
        allowed = list(config.allow)
        return restore(config.teacher.checkpoint, config.teacher, "teacher", arrays, allowed=allowed, load=False)
    network = dry_run(recipe_of(config), arrays).network
    mean, std = input_normalisation(config.teacher, network, arrays)
    return Restored(network, Normalisation(tuple(mean), tuple(std)), None)
