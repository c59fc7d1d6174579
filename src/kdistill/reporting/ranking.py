"""ROC and precision-recall curves, and whether confidence is what it says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from kdistill.base.metric_catalogue import METRICS
from kdistill.reporting.arms import Arm
from kdistill.reporting.plots import MUTED, Chart, chart, colour, marker
from kdistill.reporting.rates import kinds, mean_precision, mean_roc, reliability

_GRID = 121
# Below an AUROC the whole square; above, the corner where the curves differ: (from an AUROC on, its width).
_CORNERS = ((0.9995, 0.01), (0.995, 0.05), (0.97, 0.2), (0.0, 1.0))

Samples = Sequence[tuple[np.ndarray, np.ndarray]]
Drawn = dict[int, list[Samples]]  # by arm, of each seed


@dataclass(frozen=True)
class Ranking:
    """Curves, and how much of the axis is drawn of them."""

    figures: list[Chart]
    corner: float


def ranking_curves(arms: Sequence[Arm], class_names: Sequence[str]) -> Ranking:
    """Of two classes the second's curves; of more, one against the rest, as macro and as micro average."""
    binary = len(class_names) == 2
    lowest = min((arm.mean("auroc") for arm in arms if "auroc" in arm.row.metrics), default=0.0)
    corner = next(width for auroc, width in _CORNERS if lowest >= auroc)
    figures = []
    for average in ("binary",) if binary else ("macro", "micro"):
        drawn: Drawn = {arm.number: [kinds(logits, arm.target, average) for logits in arm.logits] for arm in arms}
        if not all(curves for seeds in drawn.values() for curves in seeds):
            continue  # test holds one class only
        word = f"positive class {class_names[1]}" if binary else f"one class against the rest, {average} average"
        figures += [_roc(arms, drawn, corner, word), _precision(arms, drawn, corner, word)]
    return Ranking([*figures, _reliability(arms)], corner)


def _roc(arms: Sequence[Arm], drawn: Drawn, corner: float, word: str) -> Chart:
    grid = np.linspace(0, corner, _GRID)

    def limits(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=0.8)
        axes.set_xlim(0, corner)
        axes.set_ylim(max(0.0, 1 - 4 * corner), 1 + 0.02 * corner)

    svg = _averaged(arms, drawn, grid, mean_roc, limits, ("false positive rate", "true positive rate"), "auroc", word)
    return Chart(f"ROC, {word}", svg)


def _precision(arms: Sequence[Arm], drawn: Drawn, corner: float, word: str) -> Chart:
    lowest = max(0.0, 1 - 4 * corner)
    grid = np.linspace(max(lowest, 1 / _GRID), 1, _GRID)

    def limits(axes: Axes) -> None:
        axes.set_xlim(lowest, 1)
        axes.set_ylim(lowest, 1 + 0.02 * corner)

    svg = _averaged(arms, drawn, grid, mean_precision, limits, ("recall", "precision"), "f1", word)
    return Chart(f"precision and recall, {word}", svg)


def _averaged(
    arms: Sequence[Arm],
    drawn: Drawn,
    grid: np.ndarray,
    curve: Callable[[Samples, np.ndarray], np.ndarray],
    limits: Callable[[Axes], None],
    axis_names: tuple[str, str],
    metric: str,
    word: str,
) -> str:
    seeds = {arm.number: [curve(samples, grid) for samples in drawn[arm.number]] for arm in arms}

    def draw(axes: Axes) -> None:
        for arm in arms:
            if len(seeds[arm.number]) > 1:
                for values in seeds[arm.number]:
                    axes.plot(grid, values, color=colour(arm.number), linewidth=0.6, alpha=0.55)
            axes.plot(grid, np.mean(seeds[arm.number], axis=0), color=colour(arm.number), linewidth=1.8)
        limits(axes)

    x, y = axis_names
    figures = ", ".join(f"{arm.name} {METRICS[metric].shown(arm.mean(metric))}" for arm in arms)
    return chart(draw, x=x, y=y, alt=f"{y} by {x}, {word}; {METRICS[metric].label}: {figures}")


def _reliability(arms: Sequence[Arm]) -> Chart:
    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=0.8)
        lowest = 1.0
        for arm in arms:
            together = np.concatenate(arm.logits), np.tile(arm.target, len(arm.logits))
            confidence, accuracy = reliability(*together, least=10 * len(arm.logits))
            axes.plot(confidence, accuracy, marker(arm.number) + "-", color=colour(arm.number), ms=4.5, linewidth=1.2)
            lowest = min([lowest, *confidence, *accuracy])
        axes.set_xlim(max(0.0, lowest - 0.05), 1.01)
        axes.set_ylim(max(0.0, lowest - 0.05), 1.01)

    figures = ", ".join(f"{arm.name} {METRICS['ece'].shown(arm.mean('ece'))}" for arm in arms)
    alt = f"accuracy by confidence in bins; expected calibration error: {figures}"
    return Chart("reliability", chart(draw, x="confidence", y="accuracy", alt=alt))
