"""A JSON schema of a command's whole config, made of its dataclasses: for editors, and programs that write configs."""

from dataclasses import MISSING as NONE_GIVEN
from dataclasses import Field, fields, is_dataclass
from typing import Any

from omegaconf import MISSING
from pydantic import TypeAdapter

from kdistill.config.schema import (
    CompareConfig,
    EvaluateConfig,
    ExportConfig,
    PredictConfig,
    ReportConfig,
    TrainConfig,
)

SCHEMAS = {
    "train": TrainConfig, "compare": CompareConfig, "evaluate": EvaluateConfig, "export": ExportConfig,
    "predict": PredictConfig, "report": ReportConfig,
}  # fmt: skip
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_OPEN = ("trainer",)  # any argument of Lightning's Trainer may stand there


def json_schema(command: str) -> dict[str, Any]:
    """The schema of a command's config, as a run's `config.yaml` or a file of one's own has it.

    Sections that hold a `_target_` are objects whose further keys are that target's arguments: `--help` and the
    command itself check those.

    Args:
        command: train, compare, evaluate, export, predict or report.

    Examples:
        >>> json_schema("train")["properties"]["role"]["enum"]
        ['teacher', 'student', 'distill', 'mutual']
    """
    schema = SCHEMAS[command]
    said = (schema.__doc__ or "").strip().splitlines()[0].replace("`", "")
    return {"$schema": _DIALECT, "title": f"kdistill {command}", "description": said, **_section(schema)}


def _section(schema: Any, *, is_open: bool = False) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {one.name: _value(one) for one in fields(schema)},
        "additionalProperties": is_open,
    }


def _value(one: Field[Any]) -> dict[str, Any]:
    """The schema of a key, with its default."""
    kind: Any = one.metadata.get("type", one.type)
    if isinstance(kind, type) and is_dataclass(kind):
        return _section(kind, is_open=one.name in _OPEN)
    if "words" in one.metadata:
        found: dict[str, Any] = {"type": "string", "enum": list(one.metadata["words"])}
    elif kind is Any:
        found = _target(is_optional=one.default is None)
    else:
        found = TypeAdapter(kind).json_schema()
    default = one.default_factory() if one.default_factory is not NONE_GIVEN else one.default
    return found if default in (MISSING, NONE_GIVEN) else {**found, "default": default}


def _target(*, is_optional: bool) -> dict[str, Any]:
    section = {"type": "object", "properties": {"_target_": {"type": "string"}}}
    return {"anyOf": [section, {"type": "null"}]} if is_optional else section
