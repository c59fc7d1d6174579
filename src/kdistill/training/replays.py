"""Puts replay into a run: the teacher's answers, and the outputs of a network's frozen leading part."""

import logging
from collections.abc import Callable, Mapping, Sequence

import torch
from omegaconf import DictConfig
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.spelling import counted
from kdistill.base.types import Json
from kdistill.building.device import autocast
from kdistill.building.instantiate import network_label
from kdistill.config.hydra_setup import running_job
from kdistill.config.replaying import teacher_switch
from kdistill.config.sections import GIVEN
from kdistill.config.trainer_arguments import epochs_of
from kdistill.data.batch import Batch
from kdistill.data.module import ArrayDataModule
from kdistill.losses.base import WeightedSum
from kdistill.models.weights import fingerprint
from kdistill.modules.base import ClassifierModule
from kdistill.modules.distill import Teacher
from kdistill.modules.fit_checks import needing_all_logits
from kdistill.modules.teacher import FrozenTeacher, TeacherAnswers
from kdistill.ranks import world
from kdistill.replay.answers import KnownAnswers
from kdistill.replay.forms import error_of
from kdistill.replay.plan import decide
from kdistill.replay.prefix import CannotSplit, split_frozen
from kdistill.replay.store import ReplayStore
from kdistill.training.stored_form import Stored

log = logging.getLogger(__name__)

Compute = Callable[[Batch], dict[str, Tensor]]
Outputs = Callable[[int, Tensor], dict[str, Tensor]]

_LOGITS = "logits"
_LOOKED_AT = 256  # answers of which it is measured what storing makes of them


def replay_teacher(
    config: DictConfig,
    teacher: FrozenTeacher,
    data: ArrayDataModule,
    *,
    loss: WeightedSum | None = None,
    device: str,
    precision: str,
) -> Teacher:
    """The teacher's answers from a store, where that is worth it or asked for; else the teacher itself.

    Where all is too much it is said what would fit; k logits only where the loss is given, and can learn from them.

    Raises:
        UserError: replay is asked for and the store would be too large, or can't be written.
    """
    module = teacher.module.to(device)
    key = {"kind": "teacher", "weights": fingerprint(module.network), "layers": teacher.layers, **_inputs(module)}
    if str(config.teacher.get("_target_", "")).startswith(GIVEN):
        key["object"] = config.teacher.fingerprint  # of an object, attributes beside its weights
    what = f"answers of teacher {network_label(config.teacher)}"
    label = f"teacher-{network_label(config.teacher)}"

    def answers(batch: Batch) -> dict[str, Tensor]:
        return teacher(batch).as_tensors()

    answered = Stored(config, _LOGITS, all_classes=loss is None or bool(needing_all_logits(loss)))
    stored = _replayed(answered, teacher_switch(config.replay), answers, key, data, device, precision, label, what)
    if stored is None:
        return teacher
    return lambda batch: TeacherAnswers.from_tensors(stored(batch), teacher.layers)


def replay_known(
    config: DictConfig,
    known: KnownAnswers,
    data: ArrayDataModule,
    *,
    loss: WeightedSum | None = None,
    device: str,
    precision: str,
) -> Teacher:
    """Answers of a file from a store, as a network's would be; from memory where none is to be filled.

    Raises:
        UserError: replay is asked for and the store would be too large, or can't be written.
    """
    key = {"kind": "answers", "answers": known.fingerprint}
    shown = data.views_shown(epochs_of(config))
    store = _filled(
        Stored(config, _LOGITS, all_classes=loss is None or bool(needing_all_logits(loss))),
        teacher_switch(config.replay),
        known.read,
        {**key, **data.view_key(), "precision": precision, "device": device},
        samples=len(data.arrays.train),
        shown=[known.view_of(view) for view in shown],
        batch_size=data.serving.batch_size,
        label=f"answers-{known.label}",
        what=f"the answers in {known.file}",
    )
    read = known.read if store is None else store.read
    return lambda batch: TeacherAnswers.from_tensors(read(known.view_of(batch.view), batch.index), ())


def replay_prefix(
    config: DictConfig, kind: str, module: ClassifierModule, data: ArrayDataModule, *, device: str, precision: str
) -> bool:
    """Lets a module train on stored outputs of its frozen leading part, where that is worth it or asked for.

    Returns:
        Whether it does.

    Raises:
        UserError: replay is asked for and the network has no such part, or the store would be too large.
    """
    switch, name = config.replay.prefix, network_label(config[kind])
    if switch == "off":
        return False
    few = torch.arange(min(2, len(data.arrays.train)))
    example = data.prepare(data.read_for(few, data.view(0)).to(device), view=data.view(0)).image
    module.to(device)
    try:
        if module.loss is not None and module.loss.student_layers:
            raise CannotSplit("the loss looks at its layers")
        parts = split_frozen(module.network, module.normalize(example).contiguous(memory_format=module.format))
    except CannotSplit as reason:
        if switch == "on":
            raise UserError(f"replay.prefix=on, but {kind} {name} can't be cut: {reason}; use auto or off") from reason
        frozen = any(not parameter.requires_grad for parameter in module.network.parameters())
        log.log(
            logging.INFO if frozen else logging.DEBUG,
            f"replay: the frozen part of {kind} {name} runs at every step, for the network cannot be split: {reason}",
        )
        return False

    def prefix(batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            image = module.normalize(batch.image).contiguous(memory_format=module.format)
            return {str(number): value for number, value in enumerate(parts.prefix(image))}

    key = {"kind": "prefix", "weights": parts.fingerprint, "boundary": parts.boundary, **_inputs(module)}
    what = f"outputs of the frozen part of {kind} {name} (up to {', '.join(parts.boundary)})"
    found = _replayed(Stored(config), switch, prefix, key, data, device, precision, f"{kind}-{name}", what)
    if found is None:
        return False
    stored = found

    def logits(batch: Batch) -> Tensor:
        values = stored(batch).values()
        return parts.rest(*(v.contiguous(memory_format=module.format) if v.ndim == 4 else v for v in values))

    module.replayed = logits
    return True


def _replayed(
    kind: Stored,
    switch: str,
    compute: Compute,
    key: Mapping[str, Json],
    data: ArrayDataModule,
    device: str,
    precision: str,
    label: str,
    what: str,
) -> Compute | None:
    """What `compute` gives for training batches, from a filled store; None where it is not to be replayed."""
    if switch == "off" or not data.is_numbered:
        return None
    split = data.pool

    def outputs(view: int, index: Tensor) -> dict[str, Tensor]:
        batch = data.prepare(data.read_for(index, view).to(device), view=view)
        with autocast(precision, device):
            return compute(batch)

    store = _filled(
        kind,
        switch,
        outputs,
        {**key, **data.pool_key(), "precision": precision, "device": device},
        samples=len(split),
        shown=data.views_shown(epochs_of(kind.config)),
        batch_size=data.serving.batch_size,
        label=label,
        what=what,
        share=data.share_shown,
    )
    return None if store is None else lambda batch: store.read(batch.view, batch.index)


def _filled(
    kind: Stored,
    switch: str,
    outputs: Outputs,
    key: Mapping[str, Json],
    *,
    samples: int,
    shown: Sequence[int],
    batch_size: int,
    label: str,
    what: str,
    share: float = 1.0,
) -> ReplayStore | None:
    """The store of what a view's samples give, filled for the views that are shown; None where it is not to be."""
    if switch == "off":
        return None
    views = sorted(set(shown))
    few = torch.arange(min(2, samples))
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in outputs(views[0], few).items()}
    if kind.logits is not None and kind.config.replay.keep == "top_k" and kind.kept(shapes) is None:
        said = f"k={kind.config.replay.k} of {counted(shapes[kind.logits][0], 'class')}"
        log.info("replay.keep=top_k: %s would take no less than all, so all are kept", said)
    store, smaller = kind.store(label, key, shapes, samples), kind.smaller(label, key, shapes, samples)
    asked = {"shows": len(shown), "max_gb": kind.config.replay.max_gb, "shared": _in_sweep(), "what": what}
    decision = world.from_first(lambda: decide(switch, store, views, **asked, share=share, smaller=smaller))
    log.info("replay: %s: %s%s", what, "" if decision.replay else "not stored: ", decision.reason)
    if not decision.replay:
        return None
    is_new = world.from_first(lambda: bool(store.missing(views)))
    store.fill(views, outputs, batch_size=batch_size, what=what)
    if is_new and (store.top_k or store.dtype == "int8") and world.is_first():
        some = [outputs(views[0], index) for index in torch.arange(min(samples, _LOOKED_AT)).split(batch_size)]
        dense = {name: torch.cat([output[name] for output in some]) for name in shapes}
        log.info("replay: stored in %s: %s", kind.form(shapes), error_of(store.forms, dense))
    return store


def _inputs(module: ClassifierModule) -> dict[str, Json]:
    """What becomes of an image before a module's network sees it."""
    mean, std = (tensor.flatten().tolist() for tensor in (module.normalize.mean, module.normalize.std))
    return {"mean": mean, "std": std, "channels_last": module.format == torch.channels_last}


def _in_sweep() -> bool:
    job = running_job()
    return job is not None and job.sweep_folder is not None
