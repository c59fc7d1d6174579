"""The config as a tree, and the table that a run ends with."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from kdistill.base.cost import Cost
from kdistill.base.metric_catalogue import METRICS, Metric, table_metrics
from kdistill.base.plain_text import printable
from kdistill.config.hydra_setup import running_job
from kdistill.config.trainer_arguments import epochs_of
from kdistill.runs.evaluation import Evaluation
from kdistill.runs.last_words import shown_path
from kdistill.runs.record import RunRecord, TeacherFacts
from kdistill.screen.progress import screen

_PLAIN: dict[str, Any] = {"box": SIMPLE, "pad_edge": False, "collapse_padding": True}  # fits 80 columns


def config_tree(config: Mapping[str, Any], title: str) -> Tree:
    """A resolved plain config as a rich tree; single values before sections, as they stand."""
    tree = Tree(Text(title, style="bold"))
    _grow(tree, config)
    return tree


def _grow(tree: Tree, section: Mapping[str, Any]) -> None:
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            _grow(tree.add(Text(key, style="cyan")), value)
        else:
            tree.add(Text.assemble(f"{key}: ", (str(value) if value != {} else "-", "green")))


def _arms(record: RunRecord) -> list[tuple[str, RunRecord | TeacherFacts]]:
    """The networks of a run by label: the teacher first where there is one."""
    taught = [(f"teacher {record.teacher.label}", record.teacher)] if record.teacher else []
    return [*taught, (record.label, record)]


def print_settings(config: DictConfig, folder: Path, console: Console | None = None) -> None:
    """What was asked for beside the defaults; with `print_config=all` every setting."""
    console = console or screen()
    title = f"{config.name} -> {shown_path(folder)}"
    if config.print_config == "all":
        plain: Any = OmegaConf.to_container(config, resolve=True)
        console.print(config_tree(plain, title), soft_wrap=True)
        return
    given = [text.lstrip("+") for text in job.overrides] if (job := running_job()) else []
    tree = Tree(Text(title, style="bold"))
    typed = {key: value for key, _, value in (text.partition("=") for text in given)}  # of a key typed twice, the last
    for key, value in typed.items():
        tree.add(Text.assemble(f"{key}: ", (value or "taken away", "green")))
    console.print(tree, soft_wrap=True)
    console.print("all settings: config.yaml in that folder, or print_config=all", style="dim")


def print_next(commands: Sequence[tuple[str, str]], console: Console | None = None) -> None:
    """What to type next, whole, so that it can be pasted."""
    console = console or screen()
    console.print("next:")
    for what, command in commands:
        console.print(Text(f"  {what + ':':<10}{command}"), soft_wrap=True)


def print_plan(name: str, rows: Sequence[tuple[str, str]], console: Console | None = None) -> None:
    """What a run would do; nothing has been trained."""
    console = console or screen()
    console.print(Text(f"{name}: what the run would do; nothing is trained", style="bold"), soft_wrap=True)
    for what, words in rows:
        console.print(Text.assemble((f"  {what:<10}", "cyan"), printable(words)), soft_wrap=True)


def trained_as(record: RunRecord, config: DictConfig) -> str:
    """How a training ended, in a few words, without figures of test."""
    monitor = str(config.callbacks.checkpoint.monitor)
    value = record.val.get(monitor.removeprefix("val/"))
    figure = "" if value is None else f"{monitor} {value:.4f} "
    return f"{figure}in epoch {record.best_epoch} of {epochs_of(config)}"


def result_columns() -> list[str]:
    """The names of the columns of `result_rows`."""
    return ["", *(metric.label for metric in table_metrics()), "params", "trainable", "FLOPs", "ratio", "latency"]


def result_rows(record: RunRecord) -> list[list[str]]:
    """One row per network, as wide as `result_columns`: the teacher first where there is one.

    `ratio` is the teacher's FLOPs over the row's own.
    """
    arms = _arms(record)
    heaviest = next(arm.cost.flops for _, arm in arms if arm.cost is not None)
    return [
        [label, *(_figure(metric, arm.test or {}) for metric in table_metrics()), *_costs(arm.cost, heaviest)]
        for label, arm in arms
    ]


def _costs(cost: Cost | None, heaviest: int) -> list[str]:
    """Parameters, those that train, FLOPs, the heaviest network's over these, latency; none is known of answers."""
    if cost is None:
        return ["-"] * 5
    ratio = f"{heaviest / cost.flops:.1f} x" if cost.flops else "-"
    return [f"{cost.params_total:,}", f"{cost.params_trainable:,}", flops(cost), ratio, latency(cost)]


def _figure(metric: Metric, figures: Mapping[str, float]) -> str:
    return metric.shown(figures[metric.key]) if metric.key in figures else "-"


def flops(cost: Cost) -> str:
    """Of one image, to three digits; '>=' where an operator that may be heavy is not counted."""
    short = f"{cost.flops:.2e}".replace("e+0", "e")
    return f">= {short}" if cost.heavy_uncounted_ops else short


def lower_bounds(costs: Iterable[tuple[str, Cost]]) -> list[str]:
    """A line for each network whose FLOPs are a lower bound: which operators that may be heavy are not counted."""
    named = [(label, cost.heavy_uncounted_ops) for label, cost in costs]
    return [f"FLOPs of {label} leave out {', '.join(left_out)}" for label, left_out in named if left_out]


def latency(cost: Cost) -> str:
    """Of one image, to three digits; nobody may have measured it."""
    if (value := cost.latency_ms) is None:
        return "-"
    return f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"


def print_result(record: RunRecord, folder: str, console: Console | None = None) -> None:
    """The final table, what else is worth a line, and where the run lies."""
    console = console or screen()
    table = Table(title=f"{record.experiment}, seed {record.seed}: test set", title_justify="left", **_PLAIN)
    columns, rows = result_columns(), result_rows(record)
    shown = [n for n, name in enumerate(columns) if name != "trainable"]  # which has a line of its own below
    if record.cost.latency_on is None:
        shown.remove(columns.index("latency"))
    for n in shown:
        table.add_column(columns[n], justify="left" if n == 0 else "right", no_wrap=n > 0, overflow="fold")
    for row in rows:
        table.add_row(*(row[n] for n in shown))
    console.print(table)
    for label, arm in _arms(record):
        if arm.cost is not None and arm.cost.params_trainable != arm.cost.params_total:
            console.print(f"{label}: {arm.cost.params_trainable:,} of its parameters are trained", soft_wrap=True)
    for line in (*lower_bounds((label, arm.cost) for label, arm in _arms(record) if arm.cost), *_remarks(record)):
        console.print(line, soft_wrap=True)
    console.print(f"run folder: {folder}", soft_wrap=True)


def _remarks(record: RunRecord) -> Iterator[str]:
    """What is worth a line below the table."""
    others = [metric for metric in METRICS.values() if not metric.in_table and metric.key in record.test]
    figures = [f"{metric.label} {_figure(metric, record.test)}" for metric in others if not metric.by_teacher]
    held = [f"{metric.label} {_figure(metric, record.test)}" for metric in others if metric.by_teacher]
    if record.diverged:
        yield f"diverged, and no result: {record.diverged}"
    line = f"epoch {record.best_epoch} was chosen on validation; on test: {', '.join(figures)}"
    yield line + ("; with the teacher: " + ", ".join(held) if held else "")
    if (rounded := record.rounded) is not None:
        accuracy = [METRICS["accuracy"].shown(one["accuracy"]) for one in rounded.on_validation]
        yield (
            f"8 bits: on validation {accuracy[0]} in float before, {accuracy[1]} rounded, {accuracy[2]} after "
            f"{rounded.epochs} more epochs (epoch {rounded.best_epoch} was chosen); the weights are the rounded ones "
            + ("of that epoch" if rounded.taken == "tuned" else "before these epochs, which were of no use")
        )
    if record.cost.latency_on is not None:
        spread = f"interquartile range {record.cost.latency_iqr_ms:.2g} ms"
        yield f"latency: one image on {record.cost.latency_on}, median of many; {spread}"
    if (chosen := record.threshold) is not None:
        figures = [f"{METRICS[key].label} {METRICS[key].shown(value)}" for key, value in chosen.test.items()]
        yield f"at the threshold {chosen.value:.3f}, chosen on validation: {', '.join(figures)}"
    for agreed, found in (record.test_by_agreement or {}).items():
        figures = [f"{metric.label} {metric.shown(found[key])}" for key, metric in METRICS.items() if key in found]
        yield f"annotators {agreed}: {found['n']:.0f} images, {', '.join(figures)}"
    yield "time: " + ", ".join(f"{name} {value:.0f} s" for name, value in asdict(record.time_s).items() if value)


def print_evaluation(result: Evaluation, console: Console | None = None) -> None:
    """Figures of `kdistill.evaluate`, beside the run's own where the data are the same."""
    console = console or screen()
    table = Table(
        title=f"{result.label}: test set of {result.dataset_root or 'the run'}", title_justify="left", **_PLAIN
    )
    for column in ("", "now", "recorded"):
        table.add_column(column, justify="left" if column == "" else "right")
    recorded = result.recorded or {}
    for name, value in result.test.items():
        table.add_row(name, f"{value:.6f}", f"{recorded[name]:.6f}" if name in recorded else "-")
    console.print(table)
    if result.teacher:
        console.print(f"teacher: {result.teacher}", soft_wrap=True)
    console.print(f"run folder: {result.run}", soft_wrap=True)
