"""`summary.json` and back: a run's record as plain data, and what in such data cannot be."""

import math
from dataclasses import fields, is_dataclass
from typing import Any

from kdistill.base.errors import UserError
from kdistill.base.metric_catalogue import METRICS
from kdistill.runs.record import Normalisation, RunRecord
from kdistill.runs.stored_json import typed

_FIGURES = ("val", "test", "test_last", "test_by_agreement", "val_float", "val_rounded", "val_tuned")


def as_plain(node: Any) -> Any:
    """A record as plain data for JSON; what it has nothing to say of is left out."""
    if is_dataclass(node):
        said = {field.name: (getattr(node, field.name), field.default) for field in fields(node)}
        return {name: as_plain(value) for name, (value, default) in said.items() if value != default}
    if isinstance(node, dict):
        return {key: as_plain(value) for key, value in node.items()}
    return [as_plain(value) for value in node] if isinstance(node, list | tuple) else node


def from_plain(content: Any, where: str, mend: str = "train it again") -> RunRecord:
    """The record that a file holds.

    Args:
        content: as JSON gives it.
        where: it was read, for the message.
        mend: what to do where it is none.

    Raises:
        UserError: it is no record of a run.
    """
    record = typed(_with_nan(content), RunRecord, where, mend)
    if wrong := _contradiction(record):
        raise UserError(f"{where} is not what a run has written ({wrong}): {mend}")
    return record


def _contradiction(record: RunRecord) -> str | None:
    """What in a record cannot be, though each value has its type."""
    facts, taught = record.data, record.teacher
    known = {"val": record.val, "test": record.test, "test_last": record.test_last}
    of_teacher = {} if taught is None else {"teacher.val": taught.val, "teacher.test": taught.test}
    known |= {part: values for part, values in of_teacher.items() if values is not None}
    for part, values in known.items():
        if "accuracy" not in values:
            return f"{part} has no accuracy"
        for key, value in values.items():
            least, most = METRICS[key].bounds if key in METRICS else (-math.inf, math.inf)
            if not (math.isnan(value) or least <= value <= most):
                return f"{part}.{key} is {value:g}, and must lie in {least:g} to {most:g}"
    normalisations = {"input": record.input, "data": Normalisation(facts.mean, facts.std)}
    normalisations |= {"teacher.input": taught.input} if taught is not None and taught.input is not None else {}
    for part, one in normalisations.items():
        if not one.mean or len(one.mean) != len(one.std):
            return f"{part} has {len(one.mean)} means and {len(one.std)} standard deviations"
        if not all(map(math.isfinite, (*one.mean, *one.std))) or min(one.std) < 0:
            return f"{part} has a mean or a standard deviation that can't be"
    if len(facts.class_names) < 1 or len(set(facts.class_names)) != len(facts.class_names):
        return "data.class_names are none, or one is there twice"
    return None


def _with_nan(node: Any, *, figures: bool = False) -> Any:
    """NaN for null among the figures, at whatever depth."""
    if isinstance(node, dict):
        return {key: _with_nan(value, figures=figures or key in _FIGURES) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_nan(value, figures=figures) for value in node]
    return math.nan if node is None and figures else node
