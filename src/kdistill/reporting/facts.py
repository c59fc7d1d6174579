"""What the runs cost, what they were set to, and what they ran on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from omegaconf import OmegaConf

from kdistill.base.cost import Cost
from kdistill.reporting.arms import Arm
from kdistill.reporting.screen import latency, lower_bounds
from kdistill.reporting.sheet import Sheet
from kdistill.runs.finished import FinishedRun
from kdistill.runs.folder import RunFolder


@dataclass(frozen=True)
class CostSheet:
    """What the networks cost, and what a reader must know of the figures.

    Attributes:
        sheet: a row for each arm.
        timed_on: what latency was measured on.
        uncounted: operators that the count leaves out.
        bounds: sentences on the arms whose count is a lower bound.
    """

    sheet: Sheet
    timed_on: list[str]
    uncounted: list[str]
    bounds: list[str]


@dataclass(frozen=True)
class Settings:
    """The settings in which arms differ, and each arm's config by its name."""

    differing: Sheet
    configs: list[tuple[str, str]]


def cost(arms: Sequence[Arm]) -> CostSheet:
    """Parameters, operations and time; with what the count leaves out."""
    columns = ["", "params", "trainable", "MACs", "FLOPs", "ratio", "latency", "training", "in all"]
    rows = [_cost_row(arm) for arm in arms]
    kept = [n for n in range(len(columns)) if any(row[n] != "-" for row in rows)]
    names, *cells = (tuple(row[n] for n in kept) for row in (columns, *rows))
    uncounted = sorted({name for arm in arms for name in arm.row.cost.uncounted_ops})
    timed_on = dict.fromkeys(arm.row.cost.latency_on for arm in arms if arm.row.cost.latency_on)
    bounds = lower_bounds((arm.name, arm.row.cost) for arm in arms)
    return CostSheet(Sheet("cost of each network", names, tuple(cells)), list(timed_on), uncounted, list(bounds))


def _cost_row(arm: Arm) -> list[str]:
    found: Cost = arm.row.cost
    ratio = f"{arm.row.ratio:.1f} x" if arm.row.ratio else "-"
    counts = [f"{count:,}" for count in (found.params_total, found.params_trainable)]
    bound = ">= " if found.heavy_uncounted_ops else ""
    counts += [f"{bound}{count:,}" for count in (found.macs, found.flops)]
    measured = [latency(found), _time(arm, "fit"), _time(arm, "total")]
    return [arm.name, *counts, ratio, *measured]


def _time(arm: Arm, part: str) -> str:
    seconds = [getattr(run.record.time_s, part) for run in arm.runs]
    if not seconds:
        return "-"
    mean = sum(seconds) / len(seconds)
    return f"{mean:.0f} s" if mean < 600 else f"{mean / 60:.0f} min"


def settings(arms: Sequence[Arm]) -> Settings:
    """What sets the arms apart, and every arm's whole config."""
    own = [arm for arm in arms if arm.runs]
    keys = dict.fromkeys(key for arm in own for key in arm.runs[0].settings)
    differing = [key for key in keys if len({repr(_setting(arm, key)) for arm in own}) > 1]
    rows = tuple((key, *(_setting(arm, key) for arm in own)) for key in differing)
    sheet = Sheet("settings in which arms differ", ("", *(arm.name for arm in own)), rows, kind="words")
    return Settings(sheet, [(arm.name, _config(arm.runs[0])) for arm in own])


def _setting(arm: Arm, key: str) -> str:
    found = arm.runs[0].settings
    return str(found[key]) if key in found else "-"


def _config(run: FinishedRun) -> str:
    return OmegaConf.to_yaml(RunFolder(run.path).config())


def origins(arms: Sequence[Arm]) -> Sheet | None:
    """Versions and hardware, a column for each set that occurs; nothing if no run kept them."""
    sets: list[tuple[dict[str, Any], list[FinishedRun]]] = []
    for run in (run for arm in arms for run in arm.runs):
        facts = {**asdict(run.record.hardware), **run.record.versions}
        same = next((runs for known, runs in sets if known == facts), None)
        if same is None:
            sets.append((facts, [run]))
        else:
            same.append(run)
    names = dict.fromkeys(name for facts, _ in sets for name in facts)
    rows = [(name.replace("_", " "), *(str(facts.get(name, "-")) for facts, _ in sets)) for name in names]
    columns = [f"{len(runs)} run{'s' * (len(runs) > 1)}" for _, runs in sets]
    return Sheet("what the runs ran on", ("", *columns), tuple(rows), kind="words") if rows else None
