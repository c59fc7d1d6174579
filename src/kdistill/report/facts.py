"""What the runs cost, what they were set to, and what they ran on."""

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from kdistill.finished import FinishedRun
from kdistill.report.arms import Arm
from kdistill.report.elements import code, folded, paragraph, table
from kdistill.report.screen import latency, lower_bounds
from kdistill.runs import RunFolder


def cost(arms: Sequence[Arm]) -> str:
    """Parameters, operations and time; with what the count leaves out."""
    columns = ("", "params", "trainable", "MACs", "FLOPs", "ratio", "latency", "training", "in all")
    rows = [_cost_row(arm) for arm in arms]
    kept = [n for n in range(len(columns)) if any(row[n] != "-" for row in rows)]
    uncounted = sorted({name for arm in arms for name in arm.row["cost"].get("uncounted_ops", ())})
    says = (
        "For one image. FLOPs = 2 x MACs; ratio: how many times fewer than the teacher, or without one than the "
        "heaviest. Training, and all of a run (with tests and, where it was trained, the teacher), are means over the "
        "seeds and depend on the machine."
    )
    timed_on = dict.fromkeys(arm.row["cost"]["latency_on"] for arm in arms if "latency_on" in arm.row["cost"])
    timed = f" Latency: median of one image at a time in float32, on {' and on '.join(timed_on)}." if timed_on else ""
    left_out = f" Not counted: {', '.join(uncounted)}." if uncounted else ""
    left_out += "".join(f" {line}." for line in lower_bounds((arm.name, arm.row["cost"]) for arm in arms))
    return table(
        "cost of each network", [columns[n] for n in kept], [[row[n] for n in kept] for row in rows]
    ) + paragraph(says + timed + left_out, "note")


def _cost_row(arm: Arm) -> list[str]:
    found = arm.row["cost"]
    ratio = f"{arm.row['ratio']:.1f} x" if arm.row["ratio"] else "-"
    macs = found.get("macs", found["flops"] // 2)
    counts = [f"{count:,}" for count in (found["params_total"], found["params_trainable"])]
    bound = ">= " if found.get("heavy_uncounted_ops") else ""
    counts += [f"{bound}{count:,}" for count in (macs, found["flops"])]
    measured = [latency(found), _time(arm, "fit"), _time(arm, "total")]
    return [arm.name, *counts, ratio, *measured]


def _time(arm: Arm, part: str) -> str:
    seconds = [run.summary["time_s"][part] for run in arm.runs if part in run.summary.get("time_s", {})]
    if not seconds:
        return "-"
    mean = sum(seconds) / len(seconds)
    return f"{mean:.0f} s" if mean < 600 else f"{mean / 60:.0f} min"


def settings(arms: Sequence[Arm]) -> str:
    """What sets the arms apart, and every arm's whole config to unfold."""
    own = [arm for arm in arms if arm.runs]
    keys = dict.fromkeys(key for arm in own for key in arm.runs[0].settings)
    differing = [key for key in keys if len({repr(_setting(arm, key)) for arm in own}) > 1]
    rows = [(key, *(_setting(arm, key) for arm in own)) for key in differing]
    apart = folded(
        f"the {len(rows)} settings in which arms differ",
        table("settings in which arms differ", ("", *(arm.name for arm in own)), rows, "words"),
    )
    whole = [folded(f"{arm.name}: all settings", code(_config(arm.runs[0]))) for arm in own]
    return "\n".join([apart] * bool(rows) + whole)


def _setting(arm: Arm, key: str) -> str:
    found = arm.runs[0].settings
    return str(found[key]) if key in found else "-"


def _config(run: FinishedRun) -> str:
    return OmegaConf.to_yaml(RunFolder(run.path).config())


def origins(arms: Sequence[Arm]) -> str:
    """Versions and hardware, a column for each set that occurs."""
    sets: list[tuple[dict[str, Any], list[FinishedRun]]] = []
    for run in (run for arm in arms for run in arm.runs):
        facts = {**run.summary.get("hardware", {}), **run.summary.get("versions", {})}
        same = next((runs for known, runs in sets if known == facts), None)
        if same is None:
            sets.append((facts, [run]))
        else:
            same.append(run)
    names = dict.fromkeys(name for facts, _ in sets for name in facts)
    rows = [(name.replace("_", " "), *(str(facts.get(name, "-")) for facts, _ in sets)) for name in names]
    columns = [f"{len(runs)} run{'s' * (len(runs) > 1)}" for _, runs in sets]
    return table("what the runs ran on", ("", *columns), rows, "words") if rows else ""
