"""The teacher of a distill run: loaded from what the user gives, or trained once by its own recipe and found again."""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from kdistill.base.classes import listed
from kdistill.base.errors import UserError
from kdistill.base.storage import one_at_a_time
from kdistill.base.weight_files import weights_path
from kdistill.building.device import choose_channels_last
from kdistill.building.instantiate import network_label
from kdistill.building.restore import Restored, joined, restore
from kdistill.config.specs import TeacherSpec, are_answers
from kdistill.config.trainer_arguments import epochs_of
from kdistill.data.arrays import ImageArrays
from kdistill.data.module import ArrayDataModule
from kdistill.evidence.order import likely_order
from kdistill.measuring.cost import count_cost
from kdistill.measuring.metrics import majority_share
from kdistill.models.weights import fingerprint
from kdistill.modules.base import ClassifierModule
from kdistill.modules.predictions import answers, figures, predict
from kdistill.modules.teacher import FrozenTeacher, TeacherModule
from kdistill.ranks import world
from kdistill.replay.answers import KnownAnswers
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import Figures, Normalisation, TeacherFacts
from kdistill.teachers.answers import facts_of
from kdistill.teachers.recipe import recipe_key, recipe_of, teacher_configs

log = logging.getLogger(__name__)

Train = Callable[[DictConfig, Path], object]


@dataclass(frozen=True)
class Teacher:
    """A teacher that is ready to answer.

    Attributes:
        answers: the frozen teacher, or what is known of one that has no network here.
        facts: what the student's run keeps of it.
        seconds: what finding it took, its training included.
    """

    answers: FrozenTeacher | KnownAnswers
    facts: TeacherFacts
    seconds: float

    @property
    def module(self) -> ClassifierModule | None:
        """What answers for an image; None where answers alone are known."""
        return self.answers.module if isinstance(self.answers, FrozenTeacher) else None

    def answers_on(self, part: Literal["val", "test"], data: ArrayDataModule, device: str) -> dict[str, Tensor]:
        """teacher_logits (N, K) on a partition; nothing where they are not known."""
        if isinstance(self.answers, KnownAnswers):
            known = self.answers.val if part == "val" else self.answers.test
            return {} if known is None else {"teacher_logits": known}
        return answers(self.answers.module, data.eval_loader(getattr(data.arrays, part)), data, device)


def find_teacher(
    config: DictConfig, data: ArrayDataModule, device: str, train: Train, known: KnownAnswers | None = None
) -> Teacher:
    """Loads the teacher of a distill run, or each of several, training first what is not there yet.

    Args:
        config: the run's config.
        data: the run's data.
        device: where the teacher's figures are computed.
        train: runs a config in a folder.
        known: the answers that are all that is known of it.

    Raises:
        UserError: a checkpoint does not fit, or a teacher knows no more than the majority class.
    """
    started = time.perf_counter()
    if known is not None:
        return Teacher(known, facts_of(known, data), time.perf_counter() - started)
    configs = teacher_configs(config)
    given_first = sorted(range(len(configs)), key=lambda n: configs[n].teacher.checkpoint is None)
    by_place = {n: _find_one(configs[n], data, device, train) for n in given_first}  # a wrong file before a training
    found = [by_place[n] for n in range(len(configs))]
    module, facts = found[0] if "members" not in config.teacher else _joined(config, found, data, device)
    # Where the student is that a loss is going to fit it to; it follows the images that it is asked about.
    return Teacher(FrozenTeacher(module.cpu()), facts, time.perf_counter() - started)


def _find_one(
    config: DictConfig, data: ArrayDataModule, device: str, train: Train
) -> tuple[TeacherModule, TeacherFacts]:
    """One teacher, and its facts."""
    arrays = data.arrays
    given = config.teacher.checkpoint
    source = Path(given).expanduser() if given is not None else _trained(config, data, train)
    restored = restore(source, config.teacher, "teacher", arrays, allowed=list(config.allow))
    network, weights = restored.network, restored.weights
    assert weights is not None
    run = RunFolder(weights.parent)
    module = _module(config, network, restored.input)
    known = run.record() if run.finished else None
    own, advice = fingerprint(network), ""
    if known is not None and (known.fingerprint, known.data.fingerprint) == (own, arrays.fingerprint):
        val, test = known.val, known.test
    else:
        val, test, advice = _measured(module, data, device)
    facts = TeacherFacts(
        label=network_label(config.teacher),
        checkpoint=str(weights),
        fingerprint=own,
        input=restored.input,
        val=val,
        test=test,
        cost=count_cost(network, arrays.image_shape, device=device),
        class_map=restored.class_map,
    )
    origin = f"loaded from {weights}" if given is not None else f"trained by {config.teacher.recipe}"
    _check_knowledge(config, val, f"teacher {facts.label}, {origin},", data, advice)
    if given is not None:
        log.info("teacher %s: loaded from %s", network_label(config.teacher), weights)
    return module, facts


def _joined(
    config: DictConfig, found: list[tuple[TeacherModule, TeacherFacts]], data: ArrayDataModule, device: str
) -> tuple[TeacherModule, TeacherFacts]:
    """Several teachers as one, and its facts. An image goes in as it is: each member has a normalisation of its own."""
    channels = data.arrays.image_shape[0]
    as_it_is = Normalisation((0.0,) * channels, (1.0,) * channels)
    network = joined(
        config.teacher,
        [Restored(one.network, facts.input or as_it_is, Path(facts.checkpoint)) for one, facts in found],
    )
    module = _module(config, network, as_it_is)
    members = tuple(facts for _, facts in found)
    val, test, advice = _measured(module, data, device)
    facts = TeacherFacts(
        label=f"mean of {len(found)} teachers",
        checkpoint=", ".join(one.checkpoint for one in members),
        fingerprint=fingerprint(network),
        input=as_it_is,
        val=val,
        test=test,
        cost=count_cost(network, data.arrays.image_shape, device=device),
        members=members,
    )
    _check_knowledge(config, val, facts.label, data, advice)
    shown = ", ".join(f"{one.label} {one.val['accuracy']:.2%}" for one in members if one.val)
    log.info("%s: validation accuracy %s; together %.2f%%", facts.label, shown, 100 * val["accuracy"])
    return module, facts


def _module(config: DictConfig, network: nn.Module, own: Normalisation) -> TeacherModule:
    return TeacherModule(
        network,
        mean=own.mean,
        std=own.std,
        channels_last=choose_channels_last(config.trainer.channels_last, network),
    )


def _check_knowledge(config: DictConfig, val: Figures, who: str, data: ArrayDataModule, advice: str) -> None:
    """Refuses a teacher that is no better on validation than the commonest class, unless its gate is off."""
    majority, accuracy = majority_share(data.arrays.val.target), val["accuracy"]
    if accuracy <= majority and TeacherSpec.of(config.teacher).gate and not config.trainer.get("fast_dev_run"):
        mend = advice or (
            "give a trained teacher.checkpoint, or null to train one"
            if "members" in config.teacher or config.teacher.checkpoint is not None
            else "train it longer or otherwise (teacher.recipe_overrides=[...]), or give a trained teacher.checkpoint"
        )
        raise UserError(
            f"{who} has {accuracy:.2%} accuracy on validation, no better than naming the commonest class "
            f"({majority:.2%}); {mend}; or teacher.gate=off to insist"
        )
    if advice:
        log.warning("%s has %.2f%% accuracy on validation; %s", who, 100 * accuracy, advice)


def _trained(config: DictConfig, data: ArrayDataModule, train: Train) -> Path:
    """The folder of the teacher that the recipe leads to; trained now if it is not there yet."""
    recipe, name = recipe_of(config), network_label(config.teacher)
    folder = _folder(config, recipe, data.arrays)
    waiting = f"teacher {name}: another run is training it; this one waits for that"
    with world.first_in(one_at_a_time(folder.parent / f".{folder.name}.lock", waiting=waiting)):
        if world.from_first(lambda: RunFolder(folder).finished):
            log.info("teacher %s: found, trained before by the same recipe on the same data (%s)", name, folder)
            return folder
        log.info("teacher %s: none yet; trained first by %s and kept in %s", name, config.teacher.recipe, folder)
        if data.serving.limit is not None:
            log.warning("teacher %s: dataset.limit=%d is its limit too", name, data.serving.limit)
        world.from_first(lambda: _clear(folder, recipe))
        train(recipe, folder)
    return folder


def _clear(folder: Path, recipe: DictConfig) -> None:
    """Removes what a killed training with, say, another logger left; the same one goes on."""
    if folder.exists() and RunFolder(folder).changed(recipe):
        shutil.rmtree(folder)


def _folder(config: DictConfig, recipe: DictConfig, arrays: ImageArrays) -> Path:
    """Where the teacher lies that a recipe leads to on these data."""
    key = recipe_key(recipe, arrays.fingerprint, arrays.train_samples, arrays.unlabelled_key)
    return Path(config.teacher_cache) / f"{network_label(config.teacher)}-{key[:12]}"


def origins(config: DictConfig, arrays: ImageArrays) -> list[tuple[str, str]]:
    """Of each teacher of a run its label and where it will come from, in words; nothing is loaded or trained."""
    found = []
    if are_answers(config.teacher):
        return [(network_label(config.teacher), f"known by the answers in {config.teacher.file} alone")]
    for own in teacher_configs(config):
        if own.teacher.checkpoint is not None:
            words = f"loaded from {weights_path(own.teacher.checkpoint)}"
        else:
            recipe = recipe_of(own)
            folder = _folder(own, recipe, arrays)
            epochs = f"{epochs_of(recipe)} epochs by {own.teacher.recipe}"
            is_there = RunFolder(folder).finished
            words = f"found in {folder}, trained before" if is_there else f"trained first, {epochs}, kept in {folder}"
        found.append((network_label(own.teacher), words))
    return found


def _measured(module: TeacherModule, data: ArrayDataModule, device: str) -> tuple[Figures, Figures, str]:
    """A teacher's val and test, and what to say where its classes seem to stand in another order, else ''."""
    val = predict(module, data.val_dataloader(), data, device)
    both = figures(val), figures(predict(module, data.test_dataloader(), data, device))
    names, named = data.arrays.class_names, val["logits"].argmax(1)
    order = likely_order(named.numpy(), val["target"].numpy(), len(names))
    if order is None:
        return *both, ""
    share = float((torch.tensor(order)[named] == val["target"]).float().mean())
    theirs = [names[k] for k in order]
    return *both, (
        f"its classes seem to stand in another order than the run's: in the order {listed(theirs)} it would have "
        f"{share:.2%}. If so, give dataset.classes=[{','.join(theirs)}] (class folders), or "
        "name its classes in its file: `classes` in the metadata of a .safetensors, `class_names` in a checkpoint"
    )
