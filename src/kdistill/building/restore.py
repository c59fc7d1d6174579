"""From a file or a folder of weights to the network that it is for, ready to answer."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from torch import nn

from kdistill.base.class_map import ClassMap, read_class_map
from kdistill.base.classes import Match, listed, match
from kdistill.base.errors import UserError
from kdistill.base.run_paths import CONFIG, SUMMARY
from kdistill.base.weight_files import weights_path
from kdistill.building.instantiate import build, network_label
from kdistill.building.mapped import mapped_network
from kdistill.building.networks import Seen, build_bare_network, input_normalisation
from kdistill.building.trust import check_trusted, is_trusted
from kdistill.config.specs import TeacherSpec
from kdistill.config.tree import plain, targets
from kdistill.models.class_order import pick_classes, stored_class_names
from kdistill.models.state_files import read_state_file
from kdistill.models.tensor_sums import tensors_fingerprint
from kdistill.models.weights import load_weights, stored_normalisation
from kdistill.modules.change_student import change_student
from kdistill.modules.ensemble import Ensemble
from kdistill.modules.normalize import Normalize
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import Normalisation

log = logging.getLogger(__name__)

_OWN = ("teacher.safetensors", "student.safetensors")  # that a run writes


@dataclass(frozen=True)
class Restored:
    """A network with its weights.

    Attributes:
        network: answers in the order of the wanted classes.
        input: what its images are normalised by.
        weights: the file that its weights are from; None of one that has none yet.
        class_map: of each wanted class those of the network that it is made of; None where they are the same.
    """

    network: nn.Module
    input: Normalisation
    weights: Path | None
    class_map: ClassMap | None = None


def restore(
    source: str | Path, section: DictConfig, kind: str, data: Seen, *, allowed: Sequence[str] = (), load: bool = True
) -> Restored:
    """The network of `teacher` or `student` with the weights of a file or folder, answering in the order of the data.

    Args:
        source: a file of weights, a finished run's folder, or one of Hugging Face's.
        section: the network's.
        kind: teacher or student.
        data: what it answers for.
        allowed: what else the run folder may name: callables, or packages of the user's own.
        load: whether its weights are read, else they are random; what is adapted is said only then.

    Raises:
        UserError: there are no weights, they do not fit or are for other classes, or no file may name the
            run's teacher.
    """
    weights = weights_path(source)
    if load:
        _check_own(weights)
    names = {"class_names": data.class_names, "image_shape": data.image_shape}
    mapped: ClassMap | None = None
    if kind == "teacher" and (given := TeacherSpec.of(section).class_map) is not None:
        own = {"known": _class_names(weights), "load": load}
        network, mapped = mapped_network(weights, section, read_class_map(given), **names, **own)  # type: ignore[arg-type]
    else:
        network = _network_for(weights, section, kind, **names, allowed=allowed, load=load)  # type: ignore[arg-type]
    known = stored_normalisation(weights) if load else None
    if known is not None and len(known[0]) != data.image_shape[0]:
        known = None  # of another number of channels, to which the network was adapted
    mean, std = known or input_normalisation(section, network, data)
    return Restored(network, Normalisation(tuple(mean), tuple(std)), weights, mapped)


def _check_own(weights: Path) -> None:
    """Checks that a file in a finished run's folder holds the weights that the run has written.

    Raises:
        UserError: it is damaged, or holds others.
    """
    run = RunFolder(weights.parent)
    if not run.finished or weights.name not in _OWN:
        return
    if tensors_fingerprint(read_state_file(weights).states[""]) != run.record().fingerprint:
        raise UserError(
            f"{weights} does not hold the weights that its run has written (their fingerprint in {SUMMARY} is "
            f"another): put the run's own file back, or remove {run.path} and train it again, which a teacher of a "
            "cache is then by itself. Other weights may be given as a file in another folder"
        )


def joined(several: DictConfig, members: Sequence[Restored]) -> nn.Module:
    """The members of `teacher=several` as one network: an image goes in as it is, each normalises it for itself."""
    normalised = [nn.Sequential(Normalize(one.input.mean, one.input.std), one.network) for one in members]
    spec = TeacherSpec.of(several)
    return Ensemble(normalised, shares=spec.shares, temperature=spec.temperature)


def _network_for(
    weights: Path,
    section: DictConfig,
    kind: str,
    *,
    class_names: Sequence[str],
    image_shape: Sequence[int],
    allowed: Sequence[str] = (),
    load: bool = True,
) -> nn.Module:
    """The network of `teacher` or `student` as a file of its weights fits it, answering in the order of `class_names`.

    Where the file lies in the folder of a finished run whose loss changed its student (simkd), the network is changed
    in the same way. Where the weights name their classes, these are matched by name: the rows of the class head are
    put into the wanted order, and those of further classes are left out.

    Args:
        weights: the file.
        section: the network's.
        kind: teacher or student.
        class_names: what its answers are for, by number.
        image_shape: (C, H, W).
        allowed: what else the run folder may name: callables, or packages of the user's own.
        load: whether its weights are read, else they are random; what is adapted is said only then.

    Raises:
        UserError: the weights do not fit or are for other classes, or no file may name the run's teacher.
    """
    owner = f"{kind}={network_label(section)}"
    known = _class_names(weights)
    found = None if known is None else _matched(class_names, known, f"{owner} at {weights}")
    sizes: dict[str, Any] = {"num_classes": len(known or class_names), "image_shape": image_shape, "trains": False}
    sizes["say"] = log.info if load else log.debug
    network = build_bare_network(section, kind, **sizes)
    trained = _finished_run(weights)
    changes = {} if trained is None else _changes(trained, allowed)
    if trained is not None and changes:
        check_trusted(trained.teacher, list(allowed), weights)
        teacher = build_bare_network(trained.teacher, "teacher", **sizes)
        change_student(
            changes,
            network,
            teacher,
            image_shape,
            student_name=owner,
            teacher_name=f"teacher={network_label(trained.teacher)}",
        )
    if load:
        load_weights(network, weights, owner=owner)
    if found is not None and found.changes:
        pick_classes(network, found.numbers, image_shape, owner=owner)
    if load:
        _say(owner, found, class_names, known)
    return network


def _class_names(weights: Path) -> tuple[str, ...] | None:
    """What the file itself says, else what the run says in whose folder it lies."""
    if (known := stored_class_names(weights)) is not None:
        return known
    for path in (weights.parent, weights.parent.parent):  # the latter: of a checkpoint
        if RunFolder(path).finished:
            return RunFolder(path).record().data.class_names
    return None


def _matched(class_names: Sequence[str], known: Sequence[str], who: str) -> Match:
    """Where the wanted classes stand among those that weights are for.

    Raises:
        UserError: the weights lack some.
    """
    found = match(class_names, known)
    if not found.complete:
        lacking = [name for name, number in zip(class_names, found.order, strict=True) if number is None]
        raise UserError(
            f"{who} knows the classes {listed(known)}, and the run's are {listed(class_names)}: it does not know "
            f"{listed(lacking)}. Give weights of a network that was trained on these classes, say which of its classes "
            "make which of the run's (teacher.class_map), or rename the data's where only their names differ"
        )
    return found


def _say(owner: str, found: Match | None, class_names: Sequence[str], known: Sequence[str] | None) -> None:
    if found is None or known is None:
        log.info(
            f"{owner}: its weights do not name their classes: it is taken that they stand in the run's order "
            f"({listed(class_names)})"
        )
        return
    if found.extra:
        log.info(f"{owner}: it knows {len(known)} classes; those of the run are taken, {listed(found.extra)} left out")
    elif found.changes:
        log.info(
            f"{owner}: its classes stand in another order ({listed(known)}); they were matched by name and its answers "
            f"put into the run's order ({listed(class_names)})"
        )
    if found.respelt:
        pairs = listed([f"{other} as {wanted}" for wanted, other in found.respelt])
        log.info(f"{owner}: some of its classes are spelt otherwise and were taken for the same: {pairs}")


def _changes(trained: DictConfig, allowed: Sequence[str]) -> dict[str, nn.Module]:
    """The parts of a run's loss that changed its student, by name; those of strange packages are not looked at."""
    sections = [part for _, part in targets(plain(trained.loss))]
    parts = [part for part in sections if is_trusted(str(part["_target_"]), allowed)]
    found = [part for part in parts if hasattr(get_object(part["_target_"]), "changes_student")]
    return {part["_target_"].rpartition(".")[2]: build(OmegaConf.create(dict(part)), "loss") for part in found}


def _finished_run(weights: Path) -> DictConfig | None:
    """The config of the distill run that left a file of its student's weights; None where none did.

    Raises:
        UserError: it lacks its loss or its teacher, which may have changed the student.
    """
    for path in (weights.parent, weights.parent.parent):  # the latter: of a checkpoint
        folder = RunFolder(path)
        if folder.finished and weights.name != folder.weights("teacher").name:
            config = folder.config()
            if config.get("role") != "distill":
                return None
            if lacking := [name for name in ("loss", "teacher") if not config.get(name)]:
                raise UserError(
                    f"{path / CONFIG} is not a config that a run has written (it lacks the section "
                    f"{' and '.join(lacking)}): restore the file"
                )
            return config
    return None
