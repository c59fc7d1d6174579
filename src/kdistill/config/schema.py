"""Dataclasses of the closed sections: a key that is not here is a typo.

Sections typed `Any` are open: their keys are the arguments of their `_target_`, and `config.validate` checks them
against its signature. `Literal` and ranged types are checked there too (OmegaConf itself knows plain types only).
"""

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt, Le
from omegaconf import MISSING

from kdistill.base.limits import IMAGE_PIXELS
from kdistill.base.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Role, UnitInterval
from kdistill.config.hydra_setup import store_schema
from kdistill.config.tree import Leaves, below

ROLES = get_args(Role)
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "32-true", "16-mixed", "bf16-mixed")
THRESHOLDS = ("half", "f1")
STORED = ("fp32", "bf16", "fp16", "int8")
KEPT = ("all", "top_k")
SWITCHES = ("auto", "on", "off")
CONTROLS = ("scratch", "smoothed")
# What every optimizer of torch refuses, each in its own words.
_OPTIMIZER = dict.fromkeys(("lr", "weight_decay", "momentum", "eps"), NonNegativeFloat)


# What a value must be beyond OmegaConf's own types stands in the metadata of its field: `words`, or a `type` with a
# range, or `keys` with types, of an open section


def _one_of(words: tuple[str, ...], default: str) -> Any:
    return field(default=default, metadata={"words": words})


def _typed(kind: Any, default: Any) -> Any:
    return field(default=default, metadata={"type": kind})


@dataclass
class TrainerConfig:
    """How long and on what to train; `auto` is resolved when the run starts and printed.

    Beside these keys stands any argument of Lightning's Trainer: see `config.trainer_arguments`.
    """

    max_epochs: int = _typed(Annotated[int, Gt(0), Le(1_000_000)], 20)
    fit: bool = True
    precision: str = _one_of(PRECISIONS, "auto")
    channels_last: str = _one_of(SWITCHES, "auto")
    tune: str = _one_of(("auto", "off"), "auto")
    tune_cache: str = MISSING
    gradient_clip_val: float | None = _typed(NonNegativeFloat, None)
    log_every_n_steps: int = _typed(PositiveInt, 50)
    progress_bar: bool = True


@dataclass
class ReplayConfig:
    """What is computed once and replayed, and where it is stored."""

    teacher: str = _one_of(SWITCHES, "auto")
    prefix: str = _one_of(SWITCHES, "auto")
    dtype: str = _one_of(STORED, "fp32")
    keep: str = _one_of(KEPT, "all")
    k: int = _typed(PositiveInt, 50)
    max_gb: float = _typed(PositiveFloat, 20.0)
    cache: str = MISSING
    export: str | None = None


@dataclass
class QuantizeConfig:
    """How long a run trains on with everything rounded to 8 bits, and how fast; no epochs: not at all."""

    epochs: int = _typed(NonNegativeInt, 0)
    lr_factor: float = _typed(PositiveFloat, 0.1)


@dataclass
class TrainConfig:
    """The whole of `python -m kdistill.train`."""

    name: str = MISSING
    role: str = _one_of(ROLES, MISSING)
    seed: int = _typed(Annotated[int, Ge(0), Le(2**32 - 1)], 0)  # NumPy's generators take no more
    device: str = _one_of(DEVICES, "auto")
    decision_threshold: str = _one_of(THRESHOLDS, "half")
    print_config: str = _one_of(("changed", "all"), "changed")
    teacher_cache: str = MISSING
    allow: list[str] = field(default_factory=list)
    ckpt_path: str | None = None
    tags: list[str] = field(default_factory=list)
    show: str = _one_of(("plan", "views"), "plan")
    dataset: Any = field(default=MISSING, metadata={"keys": {"batch_size": PositiveInt}})
    teacher: Any = None
    student: Any = None
    peers: list[Any] = field(default_factory=list)
    loss: Any = MISSING
    optimizer: Any = field(default=MISSING, metadata={"keys": _OPTIMIZER})
    scheduler: Any = None
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    quantize: QuantizeConfig = field(default_factory=QuantizeConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)


@dataclass
class EvaluateData:
    """What may differ from the data that the run saw; null keeps what the run had."""

    root: str | None = None
    batch_size: int | None = _typed(PositiveInt, None)
    cache: str = MISSING
    max_pixels: int = _typed(PositiveInt, IMAGE_PIXELS)
    allow_outside: bool = False


@dataclass
class EvaluateConfig:
    """The whole of `python -m kdistill.evaluate`."""

    run: str = MISSING
    device: str = _one_of(DEVICES, "auto")
    output: str | None = None
    allow: list[str] = field(default_factory=list)
    dataset: EvaluateData = field(default_factory=EvaluateData)


@dataclass
class CompareConfig(TrainConfig):
    """The whole of `python -m kdistill.compare`: what `kdistill.train` takes, and what is compared."""

    seeds: int = _typed(PositiveInt, 3)
    controls: list[str] = field(
        default_factory=lambda: list(CONTROLS), metadata={"type": list[Literal["scratch", "smoothed"]]}
    )
    jobs: int | str = _typed(PositiveInt | Literal["auto"], "auto")
    runs: list[str] = field(default_factory=list)
    arms: list[str] = field(default_factory=list)
    output: str | None = None


@dataclass
class ReportConfig:
    """The whole of `python -m kdistill.report`."""

    runs: list[str] = field(default_factory=list)
    arms: list[str] = field(default_factory=list)
    output: str | None = None


@dataclass
class MovedData:
    """Where the data that the run saw are by now; null where they were."""

    root: str | None = None
    cache: str = MISSING
    max_pixels: int = _typed(PositiveInt, IMAGE_PIXELS)
    allow_outside: bool = False


@dataclass
class CalibrationConfig:
    """The training images that the ranges of activations come from."""

    images: int = _typed(PositiveInt, 256)
    seed: int = _typed(NonNegativeInt, 0)


@dataclass
class ChoiceConfig:
    """What validation chooses of files in 8 bits, and how long that may take."""

    images: int = _typed(NonNegativeInt, 256)
    seconds: float = _typed(PositiveFloat, 240.0)
    distance: float = _typed(PositiveFloat, 0.1)


@dataclass
class ExportConfig:
    """The whole of `python -m kdistill.export`."""

    run: str = MISSING
    format: dict[str, Any] = field(default_factory=dict)
    layout: str = _one_of(("nchw", "nhwc"), "nchw")
    metric: str = _one_of(("accuracy", "f1", "auroc"), "accuracy")
    margin: float = _typed(UnitInterval, 0.005)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    choice: ChoiceConfig = field(default_factory=ChoiceConfig)
    output: str | None = None
    push: str | None = None
    allow: list[str] = field(default_factory=list)
    dataset: MovedData = field(default_factory=MovedData)


@dataclass
class PredictConfig:
    """The whole of `python -m kdistill.predict`."""

    model: str = MISSING
    images: list[str] = field(default_factory=list)
    form: str = _one_of(("table", "csv", "json"), "table")
    top: int | None = _typed(PositiveInt, None)
    skip: str = _one_of(("fail", "ok"), "fail")
    threads: int = _typed(PositiveInt, 1)
    batch_size: int = _typed(PositiveInt, 16)
    max_pixels: int = _typed(PositiveInt, IMAGE_PIXELS)
    allow: list[str] = field(default_factory=list)


def closed_fields(schema: Any, section: str = "") -> Iterator[tuple[str, Field[Any]]]:
    """The fields of a dataclass and of those inside it, by dotted key."""
    for one in fields(schema):
        yield below(section, one.name), one
        if isinstance(one.type, type) and is_dataclass(one.type):
            yield from closed_fields(one.type, below(section, one.name))


def allowed_words(schema: Any) -> dict[str, tuple[str, ...]]:
    """The words that a key may have, by dotted key."""
    return {key: one.metadata["words"] for key, one in closed_fields(schema) if "words" in one.metadata}


def allowed_types(schema: Any) -> Leaves:
    """The types, most of them with a range, by dotted key."""
    own = {key: one.metadata["type"] for key, one in closed_fields(schema) if "type" in one.metadata}
    keys = {key: one.metadata["keys"] for key, one in closed_fields(schema) if "keys" in one.metadata}
    return own | {below(key, name): kind for key, kinds in keys.items() for name, kind in kinds.items()}


def register() -> None:
    """Puts the schemas into Hydra's store under the names that the primary configs list first."""
    for name, schema in (
        ("train", TrainConfig), ("evaluate", EvaluateConfig), ("compare", CompareConfig), ("report", ReportConfig),
        ("export", ExportConfig), ("predict", PredictConfig),
    ):  # fmt: skip
        store_schema(f"{name}_schema", schema, ("trainer",) if issubclass(schema, TrainConfig) else ())
