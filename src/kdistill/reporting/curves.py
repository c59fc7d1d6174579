"""Learning curves: every part of the loss and every figure of validation, the arms over each other."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from kdistill.base.metric_catalogue import METRICS
from kdistill.reporting.arms import Arm
from kdistill.reporting.plots import Chart, chart, colour, marker

_SPREAD = 20  # from so many times the least value on, a loss is drawn on a logarithmic scale
_LOSSES = ("train/", "val/nll")


def learning_curves(arms: Sequence[Arm]) -> list[Chart]:
    """One chart for each column of metrics.csv but the learning rate; none if no run kept any."""
    known = dict.fromkeys(name for arm in arms for run in arm.curves for name in run)
    names = sorted(known, key=lambda name: (not name.startswith("train/"), name != "train/loss"))
    drawn = [arm for arm in arms if arm.curves]
    return [Chart(_title(name), _chart(name, drawn, _levels(name, arms))) for name in names]


def mean_curve(curves: Sequence[dict[int, float]]) -> dict[int, float]:
    """The mean over the seeds at each epoch that all of them have."""
    shared = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    return {epoch: float(np.mean([curve[epoch] for curve in curves])) for epoch in shared}


def _title(name: str) -> str:
    part, _, metric = name.partition("/")
    words = {"train": "training", "val": "validation"}
    label = METRICS[metric].label if metric in METRICS else metric.replace("_", " ")
    return f"{words[part]}: {label}"


def _levels(name: str, arms: Sequence[Arm]) -> dict[int, float]:
    """What validation says of the teachers that have no curves here, by arm."""
    part, _, metric = name.partition("/")
    return {arm.number: arm.val[metric] for arm in arms if part == "val" and metric in arm.val}


def _chart(name: str, arms: Sequence[Arm], levels: Mapping[int, float]) -> str:
    seeds = {arm.number: [run[name] for run in arm.curves if name in run] for arm in arms}
    means = {arm.number: mean_curve(seeds[arm.number]) for arm in arms}

    def draw(axes: Axes) -> None:
        for number, level in levels.items():
            axes.axhline(level, color=colour(number), linestyle="--", linewidth=1.4)
        for arm in arms:
            if len(seeds[arm.number]) > 1:
                for curve in seeds[arm.number]:
                    axes.plot(list(curve), list(curve.values()), color=colour(arm.number), linewidth=0.7, alpha=0.55)
            mean = means[arm.number]
            axes.plot(list(mean), list(mean.values()), color=colour(arm.number), linewidth=2)
            for run, curves in zip(arm.runs, arm.curves, strict=True):
                chosen = run.record.best_epoch
                if chosen in curves.get(name, {}):
                    axes.plot([chosen], [curves[name][chosen]], marker(arm.number), color=colour(arm.number), ms=5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        values = [value for curves in seeds.values() for curve in curves for value in curve.values()]
        values += levels.values()
        if name.startswith(_LOSSES) and min(values) > 0 and max(values) > _SPREAD * min(values):
            axes.set_yscale("log")

    ends = [f"{arm.name} {list(means[arm.number].values())[-1]:.4g}" for arm in arms if means[arm.number]]
    ends += [f"teacher {level:.4g}" for level in levels.values()]
    return chart(draw, x="epoch", y="", alt=f"{_title(name)} by epoch; at the end: {', '.join(ends)}")
