"""How a teacher comes to be: the experiment that trains it, on a run's own data, and the key that the result has."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf, open_dict

from kdistill.base.class_map import read_class_map
from kdistill.base.run_paths import find_run
from kdistill.base.storage import digest, file_digest
from kdistill.base.weight_files import weights_path
from kdistill.building.trust import check_trusted
from kdistill.config.compose import compose_config
from kdistill.config.key_identity import RECIPES_OWN, SAME_TEACHER, meaning, that_count
from kdistill.config.roles import FROM_OTHERS
from kdistill.config.sections import TEACHER_KEYS, wandb_sections
from kdistill.config.specs import NetworkSpec, TeacherSpec, are_answers, trained_kind
from kdistill.config.trainer_arguments import PROCESSES, device_of
from kdistill.config.tree import plain
from kdistill.models.weights import answers_digest
from kdistill.runs.folder import RunFolder
from kdistill.runs.places import sweep_name

# What a member of `teacher=several` need not say.
Value = TypeVar("Value")

_MEMBER: dict[str, Any] = {
    **{"weights": "none", "trainable": "all", "backbone_lr": 1.0, "mean": None, "std": None, "image_size": None},
    **{"checkpoint": None, "recipe": None, "recipe_overrides": [], "class_map": None, "gate": "on"},
}


def recipe_of(config: DictConfig) -> DictConfig:
    """The experiment that trains a run's teacher: composed by itself, on this run's data, device and network.

    The network takes the place that the recipe's role trains: the teacher's, or the student's where the recipe itself
    distills, from a teacher of its own (a chain) or trains without one. With `teacher.generations` = k > 1 the recipe
    is this very run with one generation less, and generation g has the seed of generation 0 plus g: equal networks
    must not start from equal weights.

    Args:
        config: of a run with one teacher and no checkpoint of it.

    Raises:
        UserError: there is no such experiment, or it is wrong.
    """
    spec = TeacherSpec.of(config.teacher)
    first = compose_config([f"+experiment={spec.recipe}", *spec.recipe_overrides])
    generation = spec.generations - 1
    if generation > 0:
        recipe = copy.deepcopy(config)
        with open_dict(recipe):
            recipe.seed = first.seed + generation
            recipe.teacher.generations = generation
            recipe.replay.export = None  # which is of this run's own teacher
        return recipe
    return _adapted(first, config)


def _adapted(recipe: DictConfig, config: DictConfig) -> DictConfig:
    with open_dict(recipe):
        own = {key: recipe.dataset[key] for key in recipe.dataset if meaning(f"dataset.{key}") in RECIPES_OWN}
        same_kind = recipe.dataset._target_ == config.dataset._target_
        recipe.dataset = OmegaConf.merge(config.dataset, own) if same_kind else config.dataset
        if recipe.dataset.get("unlabeled") and recipe.role not in FROM_OTHERS:
            recipe.dataset.unlabeled = None  # nothing of it learns from pictures without labels
        section = plain(config.teacher, resolve=True)  # resolved: it may speak of ${student.name}
        if recipe.role == "teacher":
            recipe.teacher = section
        else:
            recipe.student = _network(section)
        recipe.device = device_of(config)
        recipe.logger = _grouped(config)
        recipe.teacher_cache = config.teacher_cache
        recipe.allow = config.allow
        recipe.replay = OmegaConf.merge(config.replay, {"export": None})  # which is of this run's own teacher
        if config.replay.prefix == "on":  # it asks for the student's: a teacher with nothing frozen has none
            recipe.replay.prefix = "auto"
        recipe.trainer.progress_bar = config.trainer.progress_bar
        recipe.trainer.tune_cache = config.trainer.tune_cache
        for name in PROCESSES:
            if name in config.trainer:
                recipe.trainer[name] = config.trainer[name]
        if config.trainer.get("fast_dev_run"):  # one step of every stage: the teacher's training too
            recipe.trainer.fast_dev_run = config.trainer.fast_dev_run
    return recipe


def _grouped(config: DictConfig) -> DictConfig:
    """The student's loggers, with its W&B group said: the teacher's run belongs there, whatever its own recipe is."""
    logger = copy.deepcopy(config.logger)
    for key, section in wandb_sections(config).items():
        logger[key].group = section.get("group") or sweep_name() or config.name
    return logger


def recipe_key(recipe: DictConfig, data_fingerprint: str, train_size: int, unlabelled: str = "") -> str:
    """The key of the weights that a recipe leads to on some data: equal for recipes that train the same.

    Of a recipe that distills, how its own teachers come to be is part of it, down the whole chain.
    """
    kind = trained_kind(recipe)
    config = plain(recipe, resolve=True)
    network = _network(config[kind])
    content = that_count({**config, "teacher": None, "student": None, kind: network}, SAME_TEACHER)
    content["data"] = [data_fingerprint, train_size]
    weights = NetworkSpec.of(recipe[kind]).weights
    if Path(weights).expanduser().exists():
        content["weights"] = answers_digest(weights_path(weights))
    if recipe.dataset.get("unlabeled"):
        content["unlabelled"] = [unlabelled, recipe.dataset.get("unlabeled_share")]
    if recipe.role == "distill":
        content["teachers"] = [
            _origin(own, data_fingerprint, train_size, unlabelled) for own in teacher_configs(recipe)
        ]
        spec = TeacherSpec.of(recipe.teacher)
        content["mean_of_teachers"] = [spec.shares, spec.temperature]
        content["answers"] = recipe.replay.dtype
        if recipe.replay.keep != "all":
            content["kept"] = [recipe.replay.keep, recipe.replay.k]
    return digest(content)


def _origin(config: DictConfig, data_fingerprint: str, train_size: int, unlabelled: str) -> str:
    """What identifies a teacher's weights: what their file answers, or the recipe that leads to them."""
    if are_answers(config.teacher):
        given = TeacherSpec.of(config.teacher).class_map
        mapped = None if given is None else read_class_map(given)
        file = file_digest(Path(config.teacher.file).expanduser())
        return digest([plain(config.teacher, resolve=True), file, mapped])
    if config.teacher.checkpoint is not None:
        weights, given = (
            answers_digest(weights_path(config.teacher.checkpoint)),
            TeacherSpec.of(config.teacher).class_map,
        )
        return weights if given is None else digest([weights, read_class_map(given)])
    return recipe_key(recipe_of(config), data_fingerprint, train_size, unlabelled)


def _network(section: Mapping[str, Value]) -> dict[str, Value]:
    """What a student's section has too: the network, without where a teacher's weights come from."""
    return {key: value for key, value in section.items() if key not in TEACHER_KEYS}


def teacher_configs(config: DictConfig) -> list[DictConfig]:
    """The run's config for each of its teachers, as if that were the only one."""
    if "members" not in config.teacher:
        return [config]
    found = []
    for section in member_sections(config.teacher, list(config.allow)):
        own = copy.deepcopy(config)
        with open_dict(own):
            own.teacher = section
        found.append(own)
    return found


def member_sections(several: DictConfig, allowed: Sequence[str] = ()) -> list[DictConfig]:
    """The members of `teacher=several` as sections of one teacher each; of a finished run, its folder says the network.

    Args:
        several: the teacher's section.
        allowed: what else a run folder may name: callables, or packages of the user's own.

    Raises:
        UserError: a text names no finished run, or one whose network no file may name.
    """
    sections = []
    for member in several.members:
        if isinstance(member, str):
            member = _of_run(find_run(member, "teacher.members"), list(allowed))
        sections.append(OmegaConf.create({**_MEMBER, **plain(member, resolve=True)}))
    return sections


def _of_run(path: Path, allowed: list[str]) -> DictConfig:
    run = RunFolder.open(path)
    trained = run.config()
    section = trained[trained_kind(trained)]
    check_trusted(section, allowed, run.path / "config.yaml")
    return OmegaConf.create({**_network(plain(section, resolve=True)), "checkpoint": str(path)})
