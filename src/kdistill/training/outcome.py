"""What a training came to: tested once, on the checkpoint that validation chose, and written into the run's folder."""

import logging
import time
from dataclasses import asdict, dataclass, replace

from omegaconf import DictConfig
from torch import Tensor

from kdistill.base.cost import Cost
from kdistill.data.arrays import ImageArrays
from kdistill.evidence.divergence import divergence
from kdistill.measuring.latency import measure_latency
from kdistill.measuring.metrics import by_agreement
from kdistill.models.weights import fingerprint, write_weights
from kdistill.modules.predictions import chosen_threshold, figures, load_checkpoint, predict
from kdistill.ranks import world
from kdistill.reporting.mistakes import telling
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import (
    DataFacts,
    Figures,
    Hardware,
    Normalisation,
    RoundedFacts,
    RunRecord,
    TeacherFacts,
    Threshold,
    Times,
)
from kdistill.runs.versions import versions
from kdistill.training.fit import Fitted
from kdistill.training.peers import peer_facts
from kdistill.training.plan import TrainingPlan
from kdistill.training.prepare import Prepared

log = logging.getLogger(__name__)

_KEPT_IMAGES = 24  # of test, for the report


@dataclass(frozen=True)
class Outcome:
    """What the chosen checkpoint answers.

    Attributes:
        best_epoch: that validation chose, from 1.
        val: predictions by name, the teacher's with them; `test` likewise.
        test_last: test figures of the last epoch's weights.
        cost: of the network, with its latency.
        teacher: its facts, with its latency.
    """

    best_epoch: int
    val: dict[str, Tensor]
    test: dict[str, Tensor]
    test_last: Figures
    cost: Cost
    teacher: TeacherFacts | None


def test(plan: TrainingPlan, prepared: Prepared, fitted: Fitted) -> Outcome:
    """Predicts validation and test with the chosen weights, which the module has afterwards; and times the networks."""
    module, teacher, data, device = prepared.module, prepared.teacher, plan.data, plan.device
    val_batches, test_batches = data.val_dataloader(), data.test_dataloader()
    val_answers = teacher.answers_on("val", data, device) if teacher else {}
    test_answers = teacher.answers_on("test", data, device) if teacher else {}
    test_last = figures(predict(module, test_batches, data, device) | test_answers)
    best_epoch = fitted.best_epoch or module.current_epoch
    if fitted.checkpoint is not None:
        best_epoch = load_checkpoint(module, fitted.checkpoint, run=fitted.run)
    val_predictions = predict(module, val_batches, data, device) | val_answers
    test_predictions = predict(module, test_batches, data, device) | test_answers

    shape, facts = data.arrays.image_shape, None
    cost = replace(prepared.cost, **world.from_first(lambda: measure_latency(plan.network, shape, device=device)))
    if teacher is not None:
        facts = teacher.facts
        if teacher.module is not None and facts.cost is not None:  # here too: both on one machine at one time
            taught = teacher.module.network
            latency = world.from_first(lambda: measure_latency(taught, shape, device=device))
            facts = replace(facts, cost=replace(facts.cost, **latency))
    return Outcome(best_epoch, val_predictions, test_predictions, test_last, cost, facts)


def write(
    config: DictConfig,
    plan: TrainingPlan,
    prepared: Prepared,
    fitted: Fitted,
    outcome: Outcome,
    folder: RunFolder,
    *,
    started: float,
    rounded: RoundedFacts | None = None,
) -> RunRecord:
    """Writes weights, predictions, some mistakes and, last, the record; of several processes the first does.

    Args:
        config: the run's.
        plan: the run's.
        prepared: what was trained.
        fitted: how long that took.
        outcome: what it came to.
        folder: the run's.
        rounded: how it went on in 8 bits.
        started: by `time.perf_counter`, when the run was.
    """
    arrays, options = plan.data.arrays, plan.options
    world.from_first(lambda: _write_answers(config, plan, outcome, folder))
    teacher, val = prepared.teacher, figures(outcome.val)
    last_nll = world.from_first(lambda: _last_nll(folder, val["nll"]))
    diverged = divergence(val["nll"], last_nll, arrays.num_classes)
    if diverged is not None:
        log.warning(
            f"{plan.kind} {plan.label}: the training has diverged: {diverged}. Its figures are no result; lower "
            "optimizer.lr, clip gradients (trainer.gradient_clip_val=1) or train in float32 (trainer.precision=32-true)"
        )
    record = RunRecord(
        experiment=config.name,
        role=config.role,
        label=plan.label + (" distilled" if teacher else " mutual" if plan.peers else ""),
        seed=config.seed,
        best_epoch=outcome.best_epoch,
        val=val,
        test=figures(outcome.test),
        test_last=outcome.test_last,
        cost=outcome.cost,
        input=Normalisation(tuple(options.mean), tuple(options.std)),
        fingerprint=fingerprint(plan.network),
        data=data_facts(arrays),
        hardware=Hardware(plan.device, **asdict(prepared.compute_mode)),
        time_s=Times(
            total=time.perf_counter() - started,
            fit=fitted.seconds,
            replay=prepared.replay_seconds,
            teacher=teacher.seconds if teacher else 0.0,
        ),
        versions=versions(),
        teacher=outcome.teacher,
        peers=peer_facts(config, plan.peers, plan.data, plan.device),
        threshold=_threshold(config, outcome),
        test_by_agreement=_by_agreement(arrays, outcome),
        diverged=diverged,
        rounded=rounded,
    )
    world.from_first(lambda: folder.write_record(record))
    return record


def _write_answers(config: DictConfig, plan: TrainingPlan, outcome: Outcome, folder: RunFolder) -> None:
    """Writes weights, predictions and some mistakes."""
    arrays, options = plan.data.arrays, plan.options
    facts = {"model": plan.label, "mean": options.mean, "std": options.std, "classes": arrays.class_names}
    write_weights(folder.weights(config.role), plan.network, facts)
    folder.write_predictions("val", {name: tensor.numpy() for name, tensor in outcome.val.items()})
    answered = {name: tensor.numpy() for name, tensor in outcome.test.items()}
    folder.write_predictions("test", answered)
    told = outcome.test["index"][telling(answered, most=_KEPT_IMAGES)]
    folder.write_mistakes(told.numpy(), arrays.test.read(told).image.cpu().numpy())


def data_facts(arrays: ImageArrays) -> DataFacts:
    """What a record says of data."""
    return DataFacts(
        fingerprint=arrays.fingerprint,
        train=arrays.train_samples,
        val=len(arrays.val),
        test=len(arrays.test),
        image_shape=arrays.image_shape,
        mean=tuple(arrays.mean),
        std=tuple(arrays.std),
        class_names=tuple(arrays.class_names),
        value_range=arrays.value_range,
        unlabelled=0 if arrays.unlabelled is None else len(arrays.unlabelled),
    )


def _last_nll(folder: RunFolder, otherwise: float) -> float:
    """Validation's NLL after the last epoch; the other where a module of someone's own does not log it."""
    logged = [row["val/nll"] for row in folder.curves() if row.get("val/nll")]
    return float(logged[-1]) if logged else otherwise


def _threshold(config: DictConfig, outcome: Outcome) -> Threshold | None:
    if config.decision_threshold != "f1":
        return None
    return Threshold(*chosen_threshold(outcome.val, outcome.test))


def _by_agreement(arrays: ImageArrays, outcome: Outcome) -> dict[str, Figures] | None:
    if arrays.test.votes is None or not arrays.annotators:
        return None
    return by_agreement(outcome.test["logits"], outcome.test["target"], arrays.test.votes.cpu(), arrays.annotators)
