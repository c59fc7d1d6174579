"""All that is decided before a run is known to start: nothing is trained and no folder is made in it."""

import logging
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from torch import nn

from kdistill.base.errors import UserError
from kdistill.base.spelling import counted
from kdistill.building.data import build_data
from kdistill.building.device import choose_device
from kdistill.building.instantiate import build, build_all, network_label
from kdistill.building.losses import build_loss
from kdistill.building.networks import build_network, input_normalisation, outline
from kdistill.building.schedules import build_schedule
from kdistill.config.specs import NetworkSpec, trained_kind
from kdistill.config.trainer_arguments import device_of, epochs_of
from kdistill.data.arrays import ImageArrays
from kdistill.data.module import ArrayDataModule
from kdistill.losses.base import check_numbered
from kdistill.models.batch_of_one import check_batch_of_one
from kdistill.models.taps import find_layer, parse_layer
from kdistill.modules.fit_checks import who_sees_the_batch
from kdistill.modules.options import ModuleOptions
from kdistill.modules.schedules import with_steps
from kdistill.modules.student import StudentModule
from kdistill.ranks import world
from kdistill.replay.answers import KnownAnswers
from kdistill.teachers.answers import known_answers
from kdistill.teachers.dry_run import dry_run
from kdistill.training.allocator import settle_process
from kdistill.training.compute_mode import ComputeMode, tune
from kdistill.training.go_on import checkpoint_to_go_on_from
from kdistill.training.peers import build_peers
from kdistill.training.presence import check_presence
from kdistill.training.shorten import shorten
from kdistill.training.trainer_options import accumulates, check_trainer
from kdistill.training.unnumbered import check_unnumbered

log = logging.getLogger(__name__)

_FEW_STEPS = 10


@dataclass(frozen=True)
class TrainingPlan:
    """What a run is made of.

    Attributes:
        kind: the section that is trained, `teacher` or `student`.
        label: what people call its network.
        device: cpu or cuda.
        data: loaded and split.
        network: with its first weights, and only what trains free.
        options: of the module that trains it.
        peers: who learns with it.
        compute_mode: precision, memory format and compilation.
        answers: of a teacher that is known by them alone.
    """

    kind: str
    label: str
    device: str
    data: ArrayDataModule
    network: nn.Module
    options: ModuleOptions
    peers: list[StudentModule]
    compute_mode: ComputeMode
    answers: KnownAnswers | None = None


def make_plan(config: DictConfig) -> TrainingPlan:
    """Loads the data, builds and fits to each other what the config names, and settles how it is computed.

    Raises:
        UserError: something of it cannot be; the message says what to do.
    """
    device = choose_device(device_of(config))
    check_constructors(config)
    check_trainer(config)
    checkpoint_to_go_on_from(config)
    check_layer_names(config)
    data = build_data(config)
    shorten(config, data)
    data.place(device)
    arrays = data.arrays
    check_figures(config, arrays)
    check_presence(config, arrays)
    dry_run(config, arrays)
    if not data.is_numbered:
        check_unnumbered(config)
    known = known_answers(config, data)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    kind = trained_kind(config)
    network = build_network(config[kind], kind, data)
    label = network_label(config[kind])
    of_one = min(data.serving.batch_size, len(arrays.train)) == 1
    if of_one:
        check_batch_of_one(network, arrays.image_shape, owner=f"{kind}={label}")
    mean, std = input_normalisation(config[kind], network, arrays)
    settle_process(device)
    mode = world.from_first(lambda: tune(config, network, data, device))
    options = ModuleOptions(
        class_names=arrays.class_names,
        mean=mean,
        std=std,
        loss=build_loss(config.loss, arrays.class_counts, len(arrays.train), arrays.annotators),
        optimizer=build(config.optimizer, "optimizer"),
        **build_schedule(config),
        channels_last=mode.channels_last,
        backbone_lr=NetworkSpec.of(config[kind]).backbone_lr,
        layer_decay=config.optimizer.get("layer_decay"),
        decayed=config.optimizer.get("decayed", "all"),
        gradient_clip_val=config.trainer.gradient_clip_val,
        gradient_clip_algorithm=config.trainer.get("gradient_clip_algorithm") or "norm",
    )
    check_optimizer(config, network)
    options.loss.unlike_parts = arrays.unlabelled is not None and world.size() > 1
    shared = who_sees_the_batch(options.loss, processes=world.size(), images=data.serving.batch_size)
    if shared is not None:
        log.log(logging.INFO if shared[0] else logging.WARNING, shared[1])
    if options.loss.needing_batch and accumulates(config):
        log.warning(
            "loss %s needs the batch as a whole, and of those whose gradients are accumulated it sees each alone "
            "(%s): raise dataset.batch_size where memory allows",
            " and ".join(options.loss.needing_batch), counted(data.serving.batch_size, "image"),
        )  # fmt: skip
    check_numbered(data.is_numbered, options.loss)
    if options.loss.views > 1:
        data.show_two_views()
    if (steps := data.train_dataloader().steps * epochs_of(config)) < _FEW_STEPS:
        log.warning(
            "%s %s: %s in all, too few to learn much; raise trainer.max_epochs or lower dataset.batch_size",
            kind, label, counted(steps, "optimizer step"),
        )  # fmt: skip
    peers = build_peers(config, data, options)
    for peer in peers if of_one else ():
        check_batch_of_one(peer.network, arrays.image_shape, owner="a network of peers")
    return TrainingPlan(kind, label, device, data, network, options, peers, mode, known)


def check_constructors(config: DictConfig) -> None:
    """Makes optimizer, scheduler and callbacks once on a stand-in, before data are loaded for them.

    Raises:
        UserError: one of them refuses its arguments.
    """
    schedule = build_schedule(config)
    made: Any = None
    for key in ("optimizer", "scheduler"):
        try:
            if key == "optimizer":
                made = build(config.optimizer, key)([nn.Parameter(torch.zeros(1, 1))])
            elif schedule["scheduler"] is not None:
                with_steps(schedule["scheduler"], made, 100)
        except (ValueError, TypeError) as error:
            raise UserError(f"{key}={config[key]._target_}: {error}") from error
    try:
        build_all(config.callbacks, "callbacks", dirpath="checkpoints")  # which nobody makes before training
    except (InstantiationException, TypeError) as error:
        raise UserError(f"callbacks: {error.__cause__ or error}") from error


def check_optimizer(config: DictConfig, network: nn.Module) -> None:
    """Makes the optimizer once on the run's own network, before a teacher is trained for it.

    Raises:
        UserError: it does not take these parameters, as torch's Muon takes matrices alone.
    """
    try:
        build(config.optimizer, "optimizer")([p for p in network.parameters() if p.requires_grad] or [nn.Parameter()])
    except (ValueError, TypeError, RuntimeError) as error:
        muon = "; optimizer=muon takes AdamW for what is no matrix" if "Muon" in str(config.optimizer._target_) else ""
        raise UserError(f"optimizer={config.optimizer._target_}: {error}{muon}") from error


def check_layer_names(config: DictConfig) -> None:
    """Looks for the layers that the loss names, before images are decoded.

    Raises:
        UserError: a network has no layer of that name; the message has the nearest.
    """
    given = config.loss.get("layers")
    layers = OmegaConf.to_container(given) if OmegaConf.is_list(given) else []
    assert isinstance(layers, list)
    pairs = [entry if isinstance(entry, list) else [entry] for entry in layers]
    size = config.dataset.get("image_size") or 224
    for place, kind in enumerate(("student", "teacher")):
        section = config.get(kind)
        names = [str(pair[place]) for pair in pairs if len(pair) > place]
        if not names or section is None or "members" in section or section.get("subclasses", 1) > 1:
            continue  # several in one, and a divided class head, have names of their own
        network = outline(section, kind, image_size=(size, size))
        if network is None:
            continue
        for name in names:
            find_layer(network, parse_layer(name), owner=f"{kind}={network_label(section)}")


def check_figures(config: DictConfig, arrays: ImageArrays) -> None:
    """Checks that the figures that are asked for can be computed on these data.

    Raises:
        UserError: a decision threshold for more than two classes.
    """
    if config.decision_threshold == "f1" and arrays.num_classes != 2:
        raise UserError(
            f"decision_threshold=f1 needs two classes, and these data have {arrays.num_classes}: use "
            "decision_threshold=half"
        )
