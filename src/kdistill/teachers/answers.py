"""A teacher that is known by its answers alone: what the student's run keeps of it, and whether it knows anything."""

import logging

import torch
from omegaconf import DictConfig
from torch import Tensor

from kdistill.base.class_map import read_class_map
from kdistill.base.classes import listed
from kdistill.base.errors import UserError
from kdistill.building.instantiate import build
from kdistill.config.specs import TeacherSpec, are_answers
from kdistill.config.trainer_arguments import epochs_of
from kdistill.data.module import ArrayDataModule
from kdistill.evidence.order import likely_order
from kdistill.measuring.metrics import majority_share, measure
from kdistill.replay.answers import KnownAnswers
from kdistill.runs.record import Figures, TeacherFacts

log = logging.getLogger(__name__)


def known_answers(config: DictConfig, data: ArrayDataModule) -> KnownAnswers | None:
    """What the file of `teacher=answers` says of a run's samples; None where the teacher is a network, or none.

    Raises:
        UserError: listing all that is wrong with the file; or its answers are no better than the commonest class; or
            there are pictures without labels.
    """
    if config.role != "distill" or not are_answers(config.teacher):
        return None
    if data.arrays.unlabelled is not None:
        raise UserError(
            "teacher=answers has answers to the labelled pictures alone, and dataset.unlabeled adds others: leave it "
            "out (dataset.unlabeled=null), or give the teacher's network (teacher.checkpoint=)"
        )
    given = TeacherSpec.of(config.teacher).class_map
    class_map = None if given is None else read_class_map(given)
    found: KnownAnswers = build(config.teacher, "teacher").read(data, epochs_of(config), class_map)
    _check_knowledge(config, found, data)
    return found


def facts_of(known: KnownAnswers, data: ArrayDataModule) -> TeacherFacts:
    """What the student's run keeps of it."""
    return TeacherFacts(
        label=known.label,
        checkpoint=str(known.file),
        fingerprint=known.fingerprint,
        val=_figures(known.val, data.arrays.val.target),
        test=_figures(known.test, data.arrays.test.target),
        class_map=known.class_map,
    )


def _figures(logits: Tensor | None, target: Tensor) -> Figures | None:
    return None if logits is None else measure(logits, target)


def _check_knowledge(config: DictConfig, known: KnownAnswers, data: ArrayDataModule) -> None:
    """Refuses answers that are no better than the commonest class, on validation or, without answers there, training.

    Raises:
        UserError: they are not, and the gate is on.
    """
    arrays, first = data.arrays, known.views[min(known.views)]
    where, logits, target = ("validation", known.val, arrays.val.target)
    if logits is None:
        where, logits, target = ("the training samples", first, arrays.train.target)
    named, target = logits.argmax(1), target.cpu()
    accuracy, majority = float((named == target).float().mean()), majority_share(target)
    others = [part for part, own in (("validation", known.val), ("test", known.test)) if own is None]
    lacking = f"; of {' and '.join(others)} it has no answers, so no figures" if others else ""
    log.info("answers of %s: %.2f%% accuracy on %s%s", known.label, 100 * accuracy, where, lacking)
    order = likely_order(named.numpy(), target.numpy(), arrays.num_classes)
    advice = ""
    if order is not None:
        theirs = [arrays.class_names[k] for k in order]
        share = float((torch.tensor(order)[named] == target).float().mean())
        advice = (
            f"the columns of {known.file} seem to stand in another order than the run's classes: as {listed(theirs)} "
            f"its answers would have {share:.2%}. If so, say teacher.classes=[{','.join(theirs)}]"
        )
    if accuracy <= majority and TeacherSpec.of(config.teacher).gate and not config.trainer.get("fast_dev_run"):
        raise UserError(
            f"the answers in {known.file} have {accuracy:.2%} accuracy on {where}, no better than naming the commonest "
            f"class ({majority:.2%}); {advice or 'give the answers of a teacher that knows the classes'}; or "
            "teacher.gate=off to insist"
        )
    if advice:
        log.warning(advice)
