"""One run, from its config to its finished folder; reads from top to bottom."""

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from kdistill.base.errors import Pruned
from kdistill.building.instantiate import build_all, network_label
from kdistill.config.validate import validate
from kdistill.data.arrays import ImageArrays
from kdistill.data.module import ArrayDataModule
from kdistill.measuring.cost import count_cost
from kdistill.measuring.latency import measure_latency
from kdistill.measuring.metrics import by_agreement
from kdistill.models.faster import make_faster
from kdistill.models.freeze import describe_trainable
from kdistill.models.weights import fingerprint, write_weights
from kdistill.modules.base import ClassifierModule
from kdistill.modules.distill import DistillModule, Teacher
from kdistill.modules.layers import bind_loss, describe_layers
from kdistill.modules.mutual import MutualModule
from kdistill.modules.predictions import answers, chosen_threshold, figures, load_checkpoint, predict
from kdistill.modules.student import StudentModule
from kdistill.modules.teacher import TeacherModule
from kdistill.reporting.following import next_commands
from kdistill.reporting.mistakes import telling
from kdistill.reporting.screen import print_next, print_result, print_settings, trained_as
from kdistill.runs.folder import RunFolder, versions
from kdistill.runs.record import DataFacts, Hardware, Normalisation, RunRecord, Threshold, Times
from kdistill.screen.progress import progress
from kdistill.teachers.find import find_teacher
from kdistill.tracking.loggers import Loggers
from kdistill.training.callbacks.checkpoints import AtomicCheckpointIO, ResumePoint, logged_until
from kdistill.training.callbacks.progress import TrainingProgress
from kdistill.training.callbacks.single_steps import who_looks_at_steps
from kdistill.training.forecast import expect_student
from kdistill.training.peers import peer_facts
from kdistill.training.plan import TrainingPlan, make_plan
from kdistill.training.replays import replay_prefix, replay_teacher

log = logging.getLogger(__name__)

_KEPT_IMAGES = 24  # of test, for the report

_ADVICE = (
    "not have many workers",
    "smaller than the logging",
    "Experiment logs dir",
    "treespec",
    "in eval mode at the",
    "lr scheduler dict contains the key",
)


def run(
    config: DictConfig,
    path: Path,
    callbacks: Sequence[Callback] = (),
    *,
    in_sweep: bool = False,
    on_the_way: bool = False,
) -> RunRecord:
    """Trains what the config says and leaves a finished run folder.

    Args:
        config: a composed `train` config.
        path: the run's folder.
        callbacks: more of them than the config names: of a search, the one that watches the trial.
        in_sweep: one of many: its settings and its test figures stay off the screen, for test must not choose.
        on_the_way: it trains the teacher of another run, which shows settings and figures.

    Returns:
        What `summary.json` holds.

    Raises:
        UserError: a mistake in the config, the data or the teacher; nothing was trained on it.
        Pruned: the search has given the trial up; the folder is marked so and can be gone on with.
    """
    started = time.perf_counter()
    validate(config)
    folder = RunFolder(path)
    folder.check(config)
    if not in_sweep and not on_the_way:
        print_settings(config, path)
    plan = make_plan(config)
    folder.begin(config)
    last = folder.last_checkpoint
    loggers = Loggers(config, path, rows=folder.curves(until=logged_until(last)) if last else ())
    failed = True
    try:
        with progress().part(str(path)):
            record = _train_and_test(config, plan, folder, loggers, callbacks, started, on_the_way)
        failed = False
    except Pruned as verdict:
        failed = False
        folder.write_json("pruned.json", verdict.facts)
        raise
    finally:
        loggers.close(failed=failed)
    if on_the_way:
        log.info(f"teacher {record.label}: trained, {trained_as(record, config)}")
    elif not in_sweep:
        print_result(record, str(path))
        print_next(next_commands(record, path))
    return record


def _train_and_test(
    config: DictConfig,
    plan: TrainingPlan,
    folder: RunFolder,
    loggers: Loggers,
    more: Sequence[Callback],
    started: float,
    on_the_way: bool,
) -> RunRecord:
    kind, label, device, data, arrays = plan.kind, plan.label, plan.device, plan.data, plan.data.arrays
    network, parts, peers, way = plan.network, plan.parts, plan.peers, plan.way
    mean, std = parts["mean"], parts["std"]

    def train_teacher(recipe: DictConfig, place: Path) -> object:
        expect_student(config, network, data, way, device)
        return run(recipe, place, on_the_way=True)

    teacher = find_teacher(config, data, device, train_teacher) if config.role == "distill" else None
    progress().over("answers")
    precision = way.precision
    replay_started = time.perf_counter()
    asked: Teacher | None = None
    if teacher is not None:
        loggers.taught_by(teacher.facts)
        pl.seed_everything(config.seed, workers=True, verbose=False)  # training a teacher drew from the generators
        bind_loss(
            parts["loss"],
            network,
            teacher.answers.module.network,
            arrays.image_shape,
            student_name=f"student={label}",
            teacher_name=f"teacher={network_label(config.teacher)}",
        )
        teacher.answers.layers = parts["loss"].teacher_layers
        asked = replay_teacher(config, teacher.answers, data, device=device, precision=precision)
    elif not peers:
        bind_loss(parts["loss"], network, None, arrays.image_shape, student_name=f"{kind}={label}")
    for line in describe_layers(parts["loss"]):
        log.info(line)
    if parts["loss"].student_layers:
        way = replace(way, compile=None)  # a compiled network may leave out the hooks that read its layers
    cost = count_cost(network, arrays.image_shape, device=device)  # with what its loss put on it
    for one in (network, *(peer.network for peer in peers)):
        make_faster(one, precision=precision, device=device)
        if way.compile:
            one.compile(mode=way.compile)
    log.info(f"{label}: {cost.flops:,} FLOPs; on {device} in {way}")
    log.info(f"{label}: trains {describe_trainable(network)}")
    module = _module(config.role, network, asked, peers, parts)
    cut = not peers and replay_prefix(config, kind, module, data, device=device, precision=precision)
    data.serves_images = not cut or (teacher is not None and asked is teacher.answers)
    fit_started = time.perf_counter()
    shown = f"{'teacher' if on_the_way else kind} {label}"
    checkpoint = _fit(config, folder, module, data, loggers, shown, device, precision, more)
    fit_seconds = time.perf_counter() - fit_started

    val_batches, test_batches = data.val_dataloader(), data.test_dataloader()
    own = teacher.answers.module if teacher else None
    val_answers, test_answers = (answers(own, batches, data, device) for batches in (val_batches, test_batches))
    test_last = figures(predict(module, test_batches, data, device) | test_answers)
    best_epoch = (
        load_checkpoint(module, Path(checkpoint.best_model_path))
        if checkpoint.best_model_path
        else module.current_epoch
    )
    val_predictions = predict(module, val_batches, data, device) | val_answers
    predictions = predict(module, test_batches, data, device) | test_answers
    val, test = figures(val_predictions), figures(predictions)

    taught = teacher.facts if teacher else None
    cost = replace(cost, **measure_latency(network, arrays.image_shape, device=device))
    if teacher is not None and taught is not None:  # here too, that both are measured on one machine at one time
        latency = measure_latency(teacher.answers.module.network, arrays.image_shape, device=device)
        taught = replace(taught, cost=replace(taught.cost, **latency))

    facts = {"model": label, "mean": mean, "std": std, "classes": arrays.class_names}
    write_weights(folder.weights(config.role), network, facts)
    folder.write_predictions("val", {name: tensor.numpy() for name, tensor in val_predictions.items()})
    answered = {name: tensor.numpy() for name, tensor in predictions.items()}
    folder.write_predictions("test", answered)
    told = predictions["index"][telling(answered, most=_KEPT_IMAGES)]
    folder.write_mistakes(told.numpy(), arrays.test.read(told).image.cpu().numpy())
    record = RunRecord(
        experiment=config.name,
        role=config.role,
        label=label + (" distilled" if teacher else " mutual" if peers else ""),
        seed=config.seed,
        best_epoch=best_epoch,
        val=val,
        test=test,
        test_last=test_last,
        cost=cost,
        input=Normalisation(tuple(mean), tuple(std)),
        fingerprint=fingerprint(network),
        data=_data_facts(arrays),
        hardware=Hardware(device, **asdict(way)),
        time_s=Times(
            total=time.perf_counter() - started,
            fit=fit_seconds,
            replay=fit_started - replay_started,
            teacher=teacher.seconds if teacher else 0.0,
        ),
        versions=versions(),
        teacher=taught,
        peers=peer_facts(config, peers, data, device),
        threshold=Threshold(**chosen_threshold(val_predictions, predictions))
        if config.decision_threshold == "f1"
        else None,
        test_by_agreement=by_agreement(
            predictions["logits"], predictions["target"], arrays.test.votes.cpu(), arrays.annotators
        )
        if arrays.test.votes is not None and arrays.annotators
        else None,
    )
    folder.write_record(record)
    loggers.result(record)
    return record


def _data_facts(arrays: ImageArrays) -> DataFacts:
    return DataFacts(
        fingerprint=arrays.fingerprint,
        train=len(arrays.train),
        val=len(arrays.val),
        test=len(arrays.test),
        image_shape=arrays.image_shape,
        mean=tuple(arrays.mean),
        std=tuple(arrays.std),
        class_names=tuple(arrays.class_names),
        value_range=arrays.value_range,
    )


def _module(
    role: str, network: Any, teacher: Teacher | None, peers: list[StudentModule], parts: dict[str, Any]
) -> ClassifierModule:
    if teacher is not None:
        return DistillModule(network, teacher=teacher, **parts)
    if peers:
        return MutualModule(network, peers=peers, **parts)
    return (TeacherModule if role == "teacher" else StudentModule)(network, **parts)


def _fit(
    config: DictConfig,
    folder: RunFolder,
    module: ClassifierModule,
    data: ArrayDataModule,
    loggers: Loggers,
    label: str,
    device: str,
    precision: Any,
    more: Sequence[Callback],
) -> ModelCheckpoint:
    """Trains; returns the callback that knows which checkpoint validation chose."""
    callbacks = build_all(config.callbacks, "callbacks", dirpath=str(folder.checkpoints))
    checkpoint = next((c for c in callbacks if isinstance(c, ModelCheckpoint)), None)
    assert checkpoint is not None, "validate() has seen to a ModelCheckpoint"
    pl.seed_everything(config.seed, workers=True, verbose=False)  # training a teacher drew from the generators
    callbacks.sort(key=lambda callback: isinstance(callback, ResumePoint))  # its checkpoint has the others' last step
    if patient := who_looks_at_steps(callbacks):
        data.one_step_a_call = True
        log.info(f"{label}: one optimizer step a call, for {', '.join(patient)} may look at each")
    loader, shown = data.train_dataloader(), config.trainer.progress_bar
    progress().over("training")
    with (
        _quiet_lightning(),
        progress().stage(label, config.trainer.max_epochs, "images", shown=shown) as stage,
    ):
        told = TrainingProgress(
            stage,
            loader,
            validated=len(data.arrays.val),
            epochs=config.trainer.max_epochs,
            monitor=str(checkpoint.monitor),
        )
        trainer = pl.Trainer(
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=1,
            max_epochs=config.trainer.max_epochs,
            precision=precision,
            log_every_n_steps=config.trainer.log_every_n_steps,
            logger=loggers.all,
            callbacks=[*callbacks, *([told] if shown else []), *more],
            plugins=[AtomicCheckpointIO()],
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=folder.path,
        )
        if folder.last_checkpoint is not None:
            log.info(f"{label}: goes on from {folder.last_checkpoint}")
        trainer.fit(module, datamodule=data, ckpt_path=folder.last_checkpoint, weights_only=True)
    if not checkpoint.best_model_path:  # it never came to save, as with every_n_epochs above max_epochs
        log.warning(f"{label}: callbacks kept no checkpoint, so the weights of the last epoch are taken")
    return checkpoint


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Without Lightning's banner, and without its advice: data on disk, long epochs, shared folders; frozen parts."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for advice in _ADVICE:
            warnings.filterwarnings("ignore", message=f".*{advice}.*")
        try:
            yield
        finally:
            log.setLevel(level)
