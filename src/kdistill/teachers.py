"""The teacher of a distill run: loaded from what the user gives, or trained once by its own recipe and found again."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from kdistill import assemble
from kdistill.config.compose import compose_config
from kdistill.cost import count_cost
from kdistill.data.module import ArrayDataModule
from kdistill.errors import UserError
from kdistill.evaluation import figures, predict
from kdistill.metrics import majority_share
from kdistill.models.weights import fingerprint, load_weights, stored_normalisation
from kdistill.modules.teacher import FrozenTeacher, TeacherModule
from kdistill.runs import RunFolder

log = logging.getLogger(__name__)

# How data are served, as opposed to which data they are: here a teacher's recipe keeps its own word.
_SERVING_KEYS = ("batch_size", "eval_batch_size", "augment", "mixup", "views", "seed", "sampling", "targets")
# What changes neither the weights that a recipe leads to nor the data; the content of the data has its own fingerprint.
_NOT_RECIPE = ("name", "device", "teacher_cache", "replay", "logger", "student")

_NOT_NETWORK = ("checkpoint", "recipe", "recipe_overrides", "gate")


@dataclass(frozen=True)
class Teacher:
    """A teacher that is ready to answer.

    Attributes:
        answers: the frozen teacher.
        facts: checkpoint, fingerprint, val, test, cost; as `summary.json` holds them.
        seconds: what finding it took, its training included.
    """

    answers: FrozenTeacher
    facts: dict[str, Any]
    seconds: float


def find_teacher(
    config: DictConfig, data: ArrayDataModule, device: str, train: Callable[[DictConfig, Path], object]
) -> Teacher:
    """Loads the teacher of a distill run, training it first where there is none.

    Args:
        config: the run's config.
        data: the run's data.
        device: where the teacher's figures are computed.
        train: runs a config in a folder.

    Raises:
        UserError: the checkpoint does not fit, or the teacher knows no more than the majority class.
    """
    started = time.perf_counter()
    arrays = data.arrays
    network = assemble.bare_network(
        config.teacher, "teacher", num_classes=arrays.num_classes, in_chans=arrays.image_shape[0]
    )
    given = config.teacher.checkpoint
    source = Path(given) if given is not None else _trained(config, data, train)
    run = RunFolder(source) if source.is_dir() else None
    weights = source if run is None else _weights_of(run)
    load_weights(network, weights, owner=f"teacher={assemble.label(config.teacher)}")
    mean, std = stored_normalisation(weights) or assemble.normalisation(config.teacher, network, arrays)
    module = TeacherModule(
        network,
        num_classes=arrays.num_classes,
        mean=mean,
        std=std,
        channels_last=assemble.channels_last(config.trainer.channels_last, network),
    )
    facts: dict[str, Any] = {
        "label": assemble.label(config.teacher),
        "checkpoint": str(weights),
        "fingerprint": fingerprint(network),
        "input": {"mean": mean, "std": std},
    }
    known = run.summary() if run is not None and run.finished else {}
    if known.get("fingerprint") == facts["fingerprint"] and known["data"]["fingerprint"] == arrays.fingerprint:
        facts |= {key: known[key] for key in ("val", "test", "cost")}
    else:
        facts |= _measured(module, network, data, device)
    majority = majority_share(arrays.val.target)
    if facts["val"]["accuracy"] <= majority and config.teacher.get("gate", "on") == "on":
        raise UserError(
            f"the teacher at {weights} has {facts['val']['accuracy']:.2%} accuracy on validation, no better than "
            f"naming the commonest class ({majority:.2%}); give a trained teacher.checkpoint, null to "
            "train one, or teacher.gate=off to insist"
        )
    if given is not None:
        log.info("teacher %s: loaded from %s", assemble.label(config.teacher), weights)
    return Teacher(FrozenTeacher(module), facts, time.perf_counter() - started)


def _trained(config: DictConfig, data: ArrayDataModule, train: Callable[[DictConfig, Path], object]) -> Path:
    """The folder of the teacher that the recipe leads to; trained now if it is not there yet."""
    recipe = _recipe(config)
    key = _recipe_key(recipe, data.arrays.fingerprint, len(data.arrays.train))
    name = assemble.label(config.teacher)
    folder = Path(config.teacher_cache) / f"{name}-{key[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if RunFolder(folder).finished:
            log.info("teacher %s: found, trained before by the same recipe on the same data (%s)", name, folder)
            return folder
        log.info("teacher %s: none yet; trained first by %s and kept in %s", name, config.teacher.recipe, folder)
        if folder.exists() and not RunFolder(folder).begun_by(recipe):
            shutil.rmtree(folder)  # what a killed training with, say, another logger left; the same one goes on
        train(recipe, folder)
    return folder


def _recipe(config: DictConfig) -> DictConfig:
    """The teacher's own experiment, on this run's data, device and network."""
    recipe = compose_config([f"+experiment={config.teacher.recipe}", *config.teacher.recipe_overrides])
    with open_dict(recipe):
        own = {key: recipe.dataset[key] for key in _SERVING_KEYS if key in recipe.dataset}
        same_kind = recipe.dataset._target_ == config.dataset._target_
        recipe.dataset = OmegaConf.merge(config.dataset, own) if same_kind else config.dataset
        recipe.teacher = config.teacher
        recipe.device = config.device
        recipe.logger = config.logger
        recipe.teacher_cache = config.teacher_cache
        recipe.replay = config.replay
        if config.replay.prefix == "on":  # it asks for the student's: a teacher with nothing frozen has none
            recipe.replay = OmegaConf.merge(config.replay, {"prefix": "auto"})
        recipe.trainer.progress_bar = config.trainer.progress_bar
        recipe.trainer.tune_cache = config.trainer.tune_cache
    return recipe


def _recipe_key(recipe: DictConfig, data_fingerprint: str, train_size: int) -> str:
    content = OmegaConf.to_container(recipe, resolve=True)
    assert isinstance(content, dict)
    for key in _NOT_RECIPE:
        content.pop(key, None)
    content["dataset"] = {key: value for key, value in content["dataset"].items() if key in _SERVING_KEYS}
    content["teacher"] = {key: value for key, value in content["teacher"].items() if key not in _NOT_NETWORK}
    content["trainer"].pop("progress_bar")
    content["trainer"].pop("log_every_n_steps")
    content["trainer"].pop("tune_cache")
    content["data"] = [data_fingerprint, train_size]
    weights = Path(recipe.teacher.get("weights", "none"))
    if weights.is_file():
        content["weights"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _weights_of(run: RunFolder) -> Path:
    for role in ("teacher", "student"):
        if run.weights(role).is_file():
            return run.weights(role)
    raise UserError(
        f"{run.path} holds neither teacher.safetensors nor student.safetensors; "
        "teacher.checkpoint takes a finished run's folder or a file of weights"
    )


def _measured(module: TeacherModule, network: nn.Module, data: ArrayDataModule, device: str) -> dict[str, Any]:
    return {
        "val": figures(predict(module, data.val_dataloader(), data, device)),
        "test": figures(predict(module, data.test_dataloader(), data, device)),
        "cost": count_cost(network, data.arrays.image_shape),
    }
