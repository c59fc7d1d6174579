"""Dataclasses of the closed sections: a key that is not here is a typo.

Sections typed `Any` are open: their keys are the arguments of their `_target_`, and `config.validate` checks them
against its signature. `Literal` and ranged types are checked there too (OmegaConf itself knows plain types only).
"""

import re
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from kdistill.base.types import NonNegativeFloat, PositiveFloat, PositiveInt, UnitInterval
from kdistill.config.tree import Leaves, Tree, at

ROLES = ("teacher", "student", "distill", "mutual")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "32-true", "16-mixed", "bf16-mixed")
THRESHOLDS = ("half", "f1")
STORED = ("fp32", "bf16", "fp16")
SWITCHES = ("auto", "on", "off")
CONTROLS = ("scratch", "smoothed")


@dataclass
class TrainerConfig:
    """How long and on what to train; `auto` is resolved when the run starts and printed."""

    max_epochs: int = 20
    fit: bool = True
    precision: str = "auto"
    channels_last: str = "auto"
    tune: str = "auto"
    tune_cache: str = MISSING
    gradient_clip_val: float | None = None
    log_every_n_steps: int = 50
    progress_bar: bool = True


@dataclass
class ReplayConfig:
    """What is computed once and replayed, and where it is stored."""

    teacher: str = "auto"
    prefix: str = "auto"
    dtype: str = "fp32"
    max_gb: float = 20.0
    cache: str = MISSING


@dataclass
class TrainConfig:
    """The whole of `python -m kdistill.train`."""

    name: str = MISSING
    role: str = MISSING
    seed: int = 0
    device: str = "auto"
    decision_threshold: str = "half"
    print_config: str = "changed"
    teacher_cache: str = MISSING
    dataset: Any = MISSING
    teacher: Any = None
    student: Any = None
    peers: list[Any] = field(default_factory=list)
    loss: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = None
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)


@dataclass
class EvaluateData:
    """What may differ from the data that the run saw; null keeps what the run had."""

    root: str | None = None
    batch_size: int | None = None
    cache: str = MISSING


@dataclass
class EvaluateConfig:
    """The whole of `python -m kdistill.evaluate`."""

    run: str = MISSING
    device: str = "auto"
    output: str | None = None
    allow: list[str] = field(default_factory=list)
    dataset: EvaluateData = field(default_factory=EvaluateData)


@dataclass
class CompareConfig(TrainConfig):
    """The whole of `python -m kdistill.compare`: what `kdistill.train` takes, and what is compared."""

    seeds: int = 3
    controls: list[str] = field(default_factory=lambda: list(CONTROLS))
    jobs: int | str = "auto"
    runs: list[str] = field(default_factory=list)
    arms: list[str] = field(default_factory=list)
    output: str | None = None


@dataclass
class ReportConfig:
    """The whole of `python -m kdistill.report`."""

    runs: list[str] = field(default_factory=list)
    arms: list[str] = field(default_factory=list)
    output: str | None = None


# Values beyond OmegaConf's own types, by dotted key: allowed words, or a ranged type.
CHOICES = {
    "role": ROLES,
    "device": DEVICES,
    "decision_threshold": THRESHOLDS,
    "print_config": ("changed", "all"),
    "trainer.precision": PRECISIONS,
    "trainer.channels_last": SWITCHES,
    "trainer.tune": ("auto", "off"),
    "replay.teacher": SWITCHES,
    "replay.prefix": SWITCHES,
    "replay.dtype": STORED,
}
RANGES = {
    "seed": Annotated[int, Ge(0), Le(2**32 - 1)],  # NumPy's generators take no more
    "trainer.max_epochs": PositiveInt,
    "trainer.log_every_n_steps": PositiveInt,
    "trainer.gradient_clip_val": NonNegativeFloat,
    "dataset.batch_size": PositiveInt,
    # What every optimizer of torch refuses, each in its own words.
    **dict.fromkeys(
        ("optimizer.lr", "optimizer.weight_decay", "optimizer.momentum", "optimizer.eps"), NonNegativeFloat
    ),
    "replay.max_gb": PositiveFloat,
    "seeds": PositiveInt,
    "controls": list[Literal["scratch", "smoothed"]],
    "jobs": PositiveInt | Literal["auto"],
}

_MODEL_KEYS: dict[str, Any] = {
    "weights": str,
    "trainable": Literal["all", "head"] | dict[str, PositiveInt] | list[str],
    "backbone_lr": PositiveFloat,
    "subclasses": PositiveInt,
    "mean": list[float] | None,
    "std": list[float] | None,
    "image_size": PositiveInt | Annotated[list[PositiveInt], Len(2, 2)] | None,
}
# Where a teacher comes from: what its section has beside those of a student's.
TEACHER_KEYS: dict[str, Any] = {
    "checkpoint": str | None,
    "recipe": str | None,
    "recipe_overrides": list[str],
    "generations": PositiveInt,
    "members": list[str | dict[str, Any]],
    "gate": Literal["on", "off"],
}
# Keys of an open section that the program reads itself: they are not arguments of its target.
SECTION_KEYS: dict[str, dict[str, Any]] = {
    "teacher": {**TEACHER_KEYS, **_MODEL_KEYS},
    "student": _MODEL_KEYS,
    "scheduler": {"interval": Literal["step", "epoch"] | None, "monitor": str | None},
    "loss": {"alpha": UnitInterval, "ce": dict[str, Any]},
}
# Arguments that the program gives to a section's target when the run starts, by the section's first name.
SUPPLIED = {
    "teacher": ("num_classes", "in_chans", "members"),
    "student": ("num_classes", "in_chans"),
    "optimizer": ("params",),
    "scheduler": ("optimizer", "total_steps", "T_max", "max_lr"),
    "loss": ("class_counts", "num_samples", "annotators"),
    "callbacks": ("dirpath",),
    "logger": ("save_dir",),
}
# Arguments that follow from others where they are null, by the section's first name.
LEFT_OPEN = {"callbacks": ("mode",), "scheduler": ("mode",)}

# What people look for in a teacher's section and is not there yet: what to do today.
NOT_YET = {
    "class_map": "is not there: a teacher's classes are matched to the run's by the names in its weights (or in the "
    "config.json beside them), whatever their order, and further ones are left out; rename the data's classes where "
    "only the names differ",
    **dict.fromkeys(
        ("answers", "logits", "predictions", "probabilities"),
        "is not there: a teacher's answers are not read from a file; give its weights (teacher.checkpoint=...), and "
        "its answers are computed once and stored (replay.teacher)",
    ),
}
# What a network's constructor may call what it gets from the data; of each kind it gets the first that it takes.
NETWORK_SIZES = {
    "num_classes": (
        "num_classes", "num_labels", "n_classes", "nb_classes", "num_class", "n_class", "class_num", "classes",
        "num_outputs", "n_outputs", "output_dim", "out_dim", "out_features",
    ),
    "in_chans": ("in_chans", "in_channels", "input_channels", "in_ch", "n_channels", "num_channels"),
    "img_size": ("img_size", "image_size"),
}  # fmt: skip

UNKNOWN: Any = object()  # in a config as plain dicts: a value that is not given yet, or cannot be resolved here


# Lists whose entries are sections of another kind, by the list's key.
LISTED = {"teacher.members": "teacher", "peers": "student"}


def kind_of(key: str) -> str:
    """The section whose rules hold for a key: `teacher.members[0]` is a teacher, `peers[1]` a student."""
    return LISTED.get(re.sub(r"\[\d+\]$", "", key), key)


def open_sections(tree: Tree, schema: Any) -> Leaves:
    """The sections that hold a target, by dotted key; an optional one that is null is left out.

    Args:
        tree: a config as plain dicts.
        schema: the dataclass of the whole config.
    """
    sections: Leaves = {}
    for section in fields(schema) if is_dataclass(schema) else ():
        value = tree.get(section.name, UNKNOWN)
        if section.type == dict[str, Any]:
            sections |= {f"{section.name}.{name}": entry for name, entry in (value or {}).items()}
        elif section.type is Any and value is not UNKNOWN and (value is not None or section.default is MISSING):
            sections[section.name] = value
    for place in LISTED:
        listed = at(tree, place)
        entries = listed if isinstance(listed, list) else []
        sections |= {f"{place}[{number}]": entry for number, entry in enumerate(entries) if not isinstance(entry, str)}
    return sections


def register() -> None:
    """Puts the schemas into Hydra's store under the names that the primary configs list first."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)
    store.store(name="compare_schema", node=CompareConfig)
    store.store(name="report_schema", node=ReportConfig)
