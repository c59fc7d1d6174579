"""Which finished runs are settings of one sweep, and which of them validation chose."""

import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from kdistill.config.key_identity import SAME_SETTINGS, counts
from kdistill.config.overrides import key_of
from kdistill.config.tree import leaves, plain
from kdistill.runs.job_record import FILE, judged_by, read_record
from kdistill.runs.known import KnownRun
from kdistill.runs.places import comparison_arm
from kdistill.runs.ranking import Settings, Sweep, by_settings, shown

Value = TypeVar("Value")

_SWEEP_FILES = ("sweep.json", "multirun.yaml")

Given = Mapping[str, str]  # texts by dotted key


@dataclass(frozen=True)
class SweptRuns:
    """A sweep's finished runs.

    Attributes:
        folder: the sweep's; of runs that no sweep has started, the first one's parent.
        sweep: the figures of validation, by settings.
        runs: their folders, by settings.
    """

    folder: Path
    sweep: Sweep
    runs: Mapping[Settings, Sequence[Path]]

    @property
    def chosen(self) -> Sequence[Path]:
        """The runs of the settings that validation chose."""
        return self.runs[self.sweep.chosen]

    @cached_property
    def left(self) -> set[Path]:
        """The runs of settings that were not chosen."""
        return {path for settings, paths in self.runs.items() if settings != self.sweep.chosen for path in paths}

    @property
    def note(self) -> str:
        """Why the settings that were not chosen are no arm."""
        chosen, metric = self.described(self.sweep.chosen), self.sweep.metric.removeprefix("val/")
        return (
            f"of {len(self.runs)} settings of {', '.join(self.sweep.varied)}, validation's {metric} chose {chosen}: "
            "test figures are of these alone; to see others on test, name arms (runs=[<run>,...] arms=[<name>,...])"
        )

    def described(self, settings: Settings) -> str:
        """Settings as people write them."""
        return ", ".join(f"{key}={shown(self.sweep.at(settings, key))}" for key in self.sweep.varied)


@dataclass(frozen=True)
class Membership:
    """A finished run, what it shares with the others of its sweep, and what it was set to."""

    run: KnownRun
    shared: Any
    given: Given


def find_sweeps(members: Iterable[Membership]) -> list[SweptRuns]:
    """The sweeps among finished runs, each with at least two settings.

    Runs of one sweep are the jobs that `-m` has put into one folder, by role: a student's run is not held against a
    distilled one in choosing settings. Of what was started run by run (under torchrun, by an agent) they are the
    distilled runs whose settings differ in numbers alone. The arms of a comparison are no sweep.

    Args:
        members: what `membership` says of finished runs.
    """
    groups: dict[Any, list[Membership]] = {}
    for one in members:
        if comparison_arm(one.run.path) is None:
            groups.setdefault(one.shared, []).append(one)
    found = [_swept(together) for together in groups.values() if len(together) > 1]
    return [one for one in found if len(one.runs) > 1]


def membership(path: Path) -> Membership:
    """Which sweep a finished run may be of.

    Raises:
        UserError: a file of it is damaged.
    """
    run = KnownRun.read(path)
    role = run.record.role
    if (path / FILE).is_file():
        texts = read_record(path).overrides
        given = {key_of(text): text.partition("=")[2] for text in texts}
        return Membership(run, (_sweep_folder(path).resolve(), role), given)
    if role != "distill":
        return Membership(run, path, {})
    values = leaves(plain(run.config))
    words = tuple((key, None if _is_number(value) else repr(value)) for key, value in _trained(values).items())
    return Membership(run, words, {key: str(value) for key, value in values.items()})


def _sweep_folder(job: Path) -> Path:
    """A sweep's jobs lie in its folder or, with `hydra.sweep.subdir`, one below."""
    above = (job.parent, job.parent.parent)
    return next((folder for folder in above if any((folder / name).is_file() for name in _SWEEP_FILES)), job.parent)


def _trained(given: Mapping[str, Value]) -> dict[str, Value]:
    return {key: value for key, value in given.items() if counts(key, SAME_SETTINGS)}


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _swept(members: Sequence[Membership]) -> SweptRuns:
    texts = {one.run.path: _trained(one.given) for one in members}
    keys = dict.fromkeys(key for own in texts.values() for key in own)
    axes = tuple(key for key in keys if len({own.get(key) for own in texts.values()}) > 1)
    runs = by_settings(texts, axes)
    known = {one.run.path: one.run for one in members}
    first = members[0].run
    metric, mode, _ = judged_by(list(known.values()))
    figures = {settings: [known[path].figure(metric) for path in found] for settings, found in runs.items()}
    return SweptRuns(
        _sweep_folder(first.path), Sweep(str(first.config.name), metric, mode == "min", axes, figures), runs
    )
