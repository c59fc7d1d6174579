"""A comparison as tables and sentences, the same for the screen, for Markdown and for a page."""

from kdistill.base.metric_catalogue import METRICS, Metric
from kdistill.base.plain_text import one_line
from kdistill.evidence.measures import AGREEMENT, ALL, MEASURES, QUESTIONS
from kdistill.reporting.device_sheet import device_sheets
from kdistill.reporting.screen import flops, latency, lower_bounds
from kdistill.reporting.sheet import Sheet
from kdistill.runs.comparison import ArmFigures, Comparison, Pair

_LABELS = {name: measure.label for name, measure in (QUESTIONS | AGREEMENT).items()}
METHOD = (
    "Intervals are 95 %, over new seeds and new test samples: the seeds' own variance and the covariance that the "
    "shared samples cause, with Student's t (Obuchowski and Rockette 1995; Hillis 2007). Differences are taken seed "
    "by seed on the same samples; pp are percentage points, the arrow shows where better lies. p is two-sided, from "
    "that t; with one seed from the exact McNemar test (accuracy), DeLong's test (AUROC of two classes) and the paired "
    "bootstrap of the samples (the others). McNemar's and DeLong's p of several seeds are about these networks on new "
    "samples, not about new seeds, and decide nothing. 'Holm' is p adjusted for the number of pairs that the metric is "
    "asked of (the arms), and decides at .05. It is not adjusted for the number of metrics: where there is nothing at "
    "all, some verdict among seven metrics and two pairs is found in 1 of 5 comparisons of five seeds and in more than "
    "1 of 4 of three (simulated: .21 and .28; a single metric .04 to .07 and .07 to .09). So choose the metric that "
    "matters before you look. Inconclusive does not mean equal. 'scaled': after one temperature fitted on validation, "
    "held fixed in the intervals; 'control scaled': the arm as it is against the control after that, so a gain that "
    "vanishes there is one that a temperature alone would give. The controls get the same settings as the distilled "
    "student and no tuning beyond them: choose a temperature or a learning rate by a sweep on validation, and know "
    "that what was tuned for the distilled student alone favours it. Figures are of the epoch that validation "
    "chose. Latency is the median time of one image in float32, on a CPU with one thread, and of several runs the "
    "median."
)


def sheets(result: Comparison) -> list[Sheet]:
    """The tables of a comparison: the arms, what else is known of them, each pair, and device files."""
    return [*arm_sheets(result), *pair_sheets(result), *device_sheets(result)]


def arm_sheets(result: Comparison) -> list[Sheet]:
    """The arms, and what else is known of them."""
    return [_arms(result), *_more(result)]


def pair_sheets(result: Comparison) -> list[Sheet]:
    """Each pair of arms that shares seeds."""
    return [_pair(pair) for pair in result.pairs if pair.metrics]


def trained_with(result: Comparison) -> str:
    """The versions that the runs were trained with; nothing if no run has kept them."""
    found = ", ".join(f"{name} {' and '.join(numbers)}" for name, numbers in result.versions.items())
    return f"Trained with {found}" if found else ""


def headlines(result: Comparison) -> list[str]:
    """One sentence per pair: what helped, what hurt, what is open."""
    lines = []
    for pair in result.pairs:
        words: dict[str, list[str]] = {"helped": [], "hurt": [], "inconclusive": []}
        for metric, found in pair.metrics.items():
            words[found.verdict].append(_LABELS[metric])
        said = "; ".join(f"{word}: {', '.join(names)}" for word, names in words.items() if names)
        lines.append(f"{pair.title}: {said or 'not compared'}")
    return lines


def _arms(result: Comparison) -> Sheet:
    arms = result.arms
    columns: dict[str, list[str]] = {
        "": [f"{one_line(arm.name)}\n{_seeds(arm)}" for arm in arms],
        **{_LABELS[metric]: [_with_interval(arm, metric) for arm in arms] for metric in MEASURES},
        "params": [f"{arm.cost.params_total:,}" for arm in arms],
    }
    if any(arm.cost.params_trainable != arm.cost.params_total for arm in arms):
        columns["trainable"] = [f"{arm.cost.params_trainable:,}" for arm in arms]
    columns["FLOPs"] = [flops(arm.cost) for arm in arms]
    columns["ratio"] = [f"{arm.ratio:.1f} x" if arm.ratio else "-" for arm in arms]
    if any(arm.cost.latency_ms is not None for arm in arms):
        columns["latency"] = [latency(arm.cost) for arm in arms]
    title = f"{result.name}: {result.test.samples:,} test images, mean and 95 % interval"
    return Sheet.of_columns(title, columns, tuple(lower_bounds((arm.name, arm.cost) for arm in arms)))


def _more(result: Comparison) -> list[Sheet]:
    """What a temperature makes of the calibration, and how far each arm follows the teacher."""
    metrics = [name for name in (*ALL, *AGREEMENT) if name not in MEASURES]
    shown = [name for name in metrics if any(name in arm.metrics for arm in result.arms)]
    arms = [arm for arm in result.arms if any(name in arm.metrics for name in shown)]
    if not arms:
        return []
    columns = {"": [one_line(arm.name) for arm in arms]}
    if any(temperature is not None for arm in arms for temperature in arm.temperatures):
        columns["temperature"] = [" ".join("-" if t is None else f"{t:.2f}" for t in arm.temperatures) for arm in arms]
    columns |= {_LABELS[name]: [_with_interval(arm, name) for arm in arms] for name in shown}
    return [Sheet.of_columns("calibrated by one temperature from validation; agreement with the teacher", columns)]


def _pair(pair: Pair) -> Sheet:
    columns: dict[str, list[str]] = {"": [], "verdict": [], "difference": [], "95 % interval": [], "p": [], "Holm": []}
    for metric, found in pair.metrics.items():
        cells = (
            f"{_LABELS[metric]} {'↑' if found.better == 'higher' else '↓'}",
            found.verdict,
            _metric(metric).difference(found.mean) + " pp" * _metric(metric).in_percent,
            f"{_metric(metric).difference(found.low)} .. {_metric(metric).difference(found.high)}",
            _p(found.p),
            _p(found.p_holm),
        )
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
    return Sheet.of_columns(f"{pair.title}, {_seeds(pair)}", columns, _tests(pair))


def _tests(pair: Pair) -> tuple[str, ...]:
    """McNemar's counts and p, and DeLong's p of two classes, seed by seed."""
    lines = []
    if (found := pair.mcnemar) is not None:
        right = {pair.arm: found.only_arm_right, pair.baseline: found.only_baseline_right}
        alone = [f"{name} {' '.join(map(str, counts))}" for name, counts in right.items()]
        together = f", together {_p(found.p_of_these_networks)}" if len(pair.seeds) > 1 else ""
        shown = " ".join(map(_p, found.p_per_seed))
        lines.append(f"McNemar, images that only one has right: {', '.join(alone)}; exact p {shown}{together}")
    if pair.delong is not None:
        lines.append(f"DeLong, AUROC: p {' '.join(map(_p, pair.delong.p_per_seed))}")
    return ("; ".join(lines),) if lines else ()


def _seeds(found: ArmFigures | Pair) -> str:
    seeds = len(found.seeds)
    return f"{seeds} seed{'s' * (seeds > 1)}" if seeds else ""


def _with_interval(arm: ArmFigures, metric: str) -> str:
    if metric not in arm.metrics:
        return "-"
    found = arm.metrics[metric]
    shown = _metric(metric).shown
    ends = (shown(end).rstrip("%").removeprefix("0") for end in (found.low, found.high))
    return f"{shown(found.mean)}\n{'-'.join(ends)}"


def _metric(question: str) -> Metric:
    """What a comparison asks is a metric, as it is or after a temperature: `nll`, `nll_scaled`, `nll_vs_scaled`."""
    return METRICS[question.removesuffix("_scaled").removesuffix("_vs")]


def _p(value: float) -> str:
    return f"{value:.4f}".removeprefix("0") if value >= 1e-4 else "<.0001"
