"""The processes of a run, by Lightning's environments and strategies: how they find each other, and on which device."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import BackboneFinetuning, BaseFinetuning, Callback
from pytorch_lightning.plugins import LayerSync
from pytorch_lightning.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdistill.base.errors import UserError
from kdistill.base.ranks import Ranks, ranks_of
from kdistill.building.device import choose_device
from kdistill.config.signature import descends
from kdistill.config.trainer_arguments import count_devices, device_of
from kdistill.modules.shared_norms import SharedNorms
from kdistill.ranks import world

log = logging.getLogger(__name__)


def environment() -> ClusterEnvironment:
    """What has started this process, as Lightning knows it."""
    ranks = ranks_of(os.environ)  # one alone is one alone also in an allocation of SLURM's for several
    return LightningEnvironment() if ranks is None or world.size() == 1 else _started_by(ranks)


def where(config: DictConfig, device: str, callbacks: Sequence[Callback] = ()) -> dict[str, Any]:
    """Accelerator, devices, nodes and strategy of a Trainer in this process.

    Args:
        config: the run's.
        device: cpu or cuda.
        callbacks: one that lets parts of the network wait needs a strategy that looks for what a step leaves out.
    """
    found: dict[str, Any] = {"accelerator": "gpu" if device == "cuda" else "cpu", "devices": 1}
    ranks = ranks_of(os.environ)
    if ranks is None or world.size() == 1:
        return found
    strategy = config.trainer.get("strategy") or "auto"
    if strategy in ("auto", "ddp"):
        waits = any(isinstance(callback, BaseFinetuning) for callback in callbacks)
        strategy = "ddp_find_unused_parameters_true" if waits else "ddp"
    own = _numbers(config) if device == "cuda" else None
    return {**found, "devices": own or ranks.local_size, "num_nodes": ranks.nodes, "strategy": strategy}


def shared_norms(config: DictConfig, network: nn.Module) -> list[LayerSync]:
    """What shares BatchNorm's statistics, where that is asked for; where it is not, they are said to be of a part."""
    if world.size() == 1 or not any(isinstance(layer, _BatchNorm) and layer.training for layer in network.modules()):
        return []
    if config.trainer.get("sync_batchnorm"):
        return [SharedNorms()]
    log.info(
        "BatchNorm has the statistics of each process's part of a batch; trainer.sync_batchnorm=true takes those of all"
    )
    return []


@contextmanager
def unused_in_words() -> Iterator[None]:
    """A block in which it is told what to do where a step leaves parameters without a gradient.

    Raises:
        UserError: processes wait for gradients of such parameters.
    """
    try:
        yield
    except RuntimeError as error:
        if "Expected to have finished reduction" not in str(error):
            raise
        raise UserError(
            "a training step gives some parameters no gradient, and the processes wait for those: write "
            "trainer.strategy=ddp_find_unused_parameters_true"
        ) from error


@contextmanager
def joined(config: DictConfig, ranks: Ranks | None) -> Iterator[None]:
    """A block that all processes of a run go through together; the first alone speaks in it.

    Raises:
        UserError: they were started with other settings, or there are fewer GPUs than processes.
    """
    if ranks is None:
        yield
        return
    device = choose_device(device_of(config))
    if device == "cuda":
        own = _numbers(config) or list(range(torch.cuda.device_count()))
        if len(own) < ranks.local_size or max(own) >= torch.cuda.device_count():
            raise UserError(
                f"{ranks.local_size} processes on a machine need as many GPUs, and torch sees "
                f"{torch.cuda.device_count()}: lower trainer.devices, or write trainer.accelerator=cpu"
            )
    if ranks.rank > 0:
        _be_silent()
    known = _started_by(ranks)
    if device == "cuda":
        torch.cuda.set_device(own[known.local_rank()])
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = known.main_address, str(known.main_port)
    world.join(ranks.rank, ranks.size, backend="cpu:gloo,cuda:nccl" if device == "cuda" else "gloo")
    _check_alike(config, ranks)
    if world.is_first():
        log.info(f"{ranks.size} processes train together: each batch is shared out to them")
    yield
    world.leave()  # not where one has failed: the others may never come


def _started_by(ranks: Ranks) -> ClusterEnvironment:
    if ranks.launcher == "torchrun":
        return TorchElasticEnvironment()
    os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(ranks.local_size))  # srun sets it where it was asked for
    return SLURMEnvironment(auto_requeue=False)  # SLURM's signals end a run so that it can go on


def _check_alike(config: DictConfig, ranks: Ranks) -> None:
    plain = world.everyones(OmegaConf.to_yaml(config, resolve=True))
    if len(set(plain)) > 1:
        raise UserError("the processes of this run were started with other settings each: give all one command")
    asked = count_devices(config.trainer.get("devices"))
    nodes = config.trainer.get("num_nodes") or 1
    if (config.trainer.get("devices") not in (None, "auto") and asked not in (None, ranks.local_size)) or (
        nodes not in (1, ranks.nodes)
    ):
        raise UserError(
            f"trainer.devices={config.trainer.get('devices')} trainer.num_nodes={nodes}, and {ranks.launcher} has "
            f"started {ranks.local_size} on each of {ranks.nodes}: leave them out, or let them agree"
        )
    for name, section in config.callbacks.items():
        if section is not None and descends(str(section.get("_target_")), BackboneFinetuning.__name__):
            raise UserError(
                f"callbacks.{name}: {section._target_} freezes the backbone before the processes agree whose gradients "
                "they share, and what it frees later would go apart: use callbacks=[default,head_first], or one process"
            )
    if config.dataset.batch_size < ranks.size:
        raise UserError(
            f"dataset.batch_size={config.dataset.batch_size} is what {ranks.size} processes share out: give as many "
            "images or more"
        )


def _numbers(config: DictConfig) -> list[int] | None:
    """The GPUs that `trainer.devices` names."""
    devices = config.trainer.get("devices")
    if isinstance(devices, str) and "," in devices:
        return [int(part) for part in devices.split(",") if part.strip()]
    return [int(one) for one in devices] if OmegaConf.is_list(devices) else None


def _be_silent() -> None:
    """What all of them would say alike, the first says."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until the process ends
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger("kdistill").setLevel(logging.ERROR)
