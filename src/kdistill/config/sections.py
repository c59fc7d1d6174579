"""What the program itself knows of the sections of a config: keys that it reads, arguments that it gives."""

import re
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, Optional

from annotated_types import Gt, Le, Len
from omegaconf import MISSING, DictConfig

from kdistill.base.types import ImageSide, PositiveFloat, PositiveInt, UnitInterval
from kdistill.config.signature import Parameter, descends, signature_of
from kdistill.config.tree import Leaves, Tree, at

_MODEL_KEYS: dict[str, Any] = {
    "weights": str,
    "trainable": Literal["all", "head"] | dict[str, PositiveInt] | list[str],
    "backbone_lr": PositiveFloat,
    "subclasses": PositiveInt,
    "mean": list[float] | None,
    "std": list[float] | None,
    "image_size": ImageSide | Annotated[list[ImageSide], Len(2, 2)] | None,
}
# Where a teacher comes from: what its section has beside those of a student's.
TEACHER_KEYS: dict[str, Any] = {
    "checkpoint": str | None,
    "recipe": str | None,
    "recipe_overrides": list[str],
    "generations": PositiveInt,
    "members": list[str | dict[str, Any]],
    "class_map": str | dict[str | int, Any] | list[str | int | None] | None,
    "gate": Literal["on", "off"],
}
# Keys of an open section that the program reads itself: they are not arguments of its target.
SECTION_KEYS: dict[str, dict[str, Any]] = {
    "teacher": {**TEACHER_KEYS, **_MODEL_KEYS},
    "student": _MODEL_KEYS,
    "optimizer": {"layer_decay": Annotated[float, Gt(0), Le(1)] | None, "decayed": Literal["all", "weights"]},
    "scheduler": {"interval": Literal["step", "epoch"] | None, "monitor": str | None},
    "loss": {"alpha": UnitInterval, "ce": dict[str, Any], "gather": bool},
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
    **dict.fromkeys(
        ("answers", "logits", "predictions", "probabilities"),
        "is not there: a file of a teacher's answers is read by teacher=answers teacher.file=<.npz, .csv or .parquet>; "
        "those of a network are computed once and stored by themselves (replay.teacher)",
    ),
}
# What a network's constructor may call what it gets from the data; of each kind it gets the first that it takes.
NETWORK_SIZES = {
    "num_classes": (
        "num_classes", "num_labels", "n_classes", "nb_classes", "num_class", "n_class", "class_num", "classes",
        "nclass", "nclasses", "ncls", "n_cls", "num_cls", "cls_num", "n_labels", "num_categories", "number_of_classes",
        "num_outputs", "n_outputs", "output_dim", "out_dim", "out_features", "out_classes", "output_classes",
    ),
    "in_chans": (
        "in_chans", "in_channels", "input_channels", "in_ch", "n_channels", "num_channels", "in_channel",
        "input_channel", "num_input_channels", "image_channels", "img_channels", "input_chans", "in_chan",
    ),
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


CUSTOM_DATA = "kdistill.data.custom.CustomData"  # what serves a data set of one's own
OWN_MODULE = "kdistill.data.own_module.OwnModule"  # and a LightningDataModule; its arguments are those, and more


def custom_data_keys() -> dict[str, Any]:
    """What the section of a data set of one's own has besides that class's arguments, and the types of them."""
    signature = signature_of(OWN_MODULE)
    assert signature is not None
    own = {name: parameter for name, parameter in signature.parameters.items() if name not in ("make", "label")}
    return {name: _type_of(one) for name, one in own.items()}


def _type_of(parameter: Parameter) -> Any:
    if parameter.type is None:
        return Any
    return Optional[parameter.type] if parameter.nullable else parameter.type  # noqa: UP045 (built at run time)


def own_keys(key: str, section: Tree) -> dict[str, Any]:
    """The keys of an open section that the program reads itself, and their types."""
    kind = kind_of(key)
    target = section.get("_target_")
    if kind == "dataset" and isinstance(target, str) and not descends(target, "ArrayDataModule"):
        return custom_data_keys()
    return SECTION_KEYS.get(kind, {})


def supplied_to(key: str) -> tuple[str, ...]:
    """The arguments that a section's target gets from the program."""
    return SUPPLIED.get(kind_of(key).partition(".")[0], ())


def is_hydras(name: Any) -> bool:
    """Whether a key is one of Hydra's own, such as `_target_`."""
    return str(name).startswith("_") and str(name).endswith("_")


GIVEN = "kdistill.building.given."  # before the targets that stand for objects of a script's own


def given_objects(tree: Tree) -> list[str]:
    """The sections that stand for objects which a script gave, as `student=MyNet`: no file can make them again."""
    sections = {**tree, **{f"callbacks.{name}": one for name, one in (tree.get("callbacks") or {}).items()}}
    return [
        f"{key}={one['name']}"
        for key, one in sections.items()
        if isinstance(one, dict) and str(one.get("_target_")).startswith(GIVEN)
    ]


WANDB_LOGGER = "kdistill.tracking.loggers.wandb_logger"


def wandb_sections(config: DictConfig) -> dict[str, DictConfig]:
    """The loggers that are W&B's, by their keys below `logger`."""
    sections = {str(name): section for name, section in config.logger.items() if section is not None}
    return {name: one for name, one in sections.items() if one.get("_target_") == WANDB_LOGGER}
