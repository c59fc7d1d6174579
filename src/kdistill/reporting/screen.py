"""The config as a tree, and the table that a run ends with."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from kdistill.base.metric_catalogue import METRICS, Metric, table_metrics
from kdistill.runs.last_words import shown_path
from kdistill.screen.progress import screen

_PLAIN: dict[str, Any] = {"box": SIMPLE, "pad_edge": False, "collapse_padding": True}  # fits 80 columns


def config_tree(config: Mapping[str, Any], title: str) -> Tree:
    """A resolved plain config as a rich tree; single values before sections, as they stand."""
    tree = Tree(f"[bold]{title}")
    _grow(tree, config)
    return tree


def _grow(tree: Tree, section: Mapping[str, Any]) -> None:
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            _grow(tree.add(f"[cyan]{key}"), value)
        else:
            tree.add(f"{key}: [green]{value if value != {} else '-'}")


def _arms(summary: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The networks of a run by label: the teacher first where there is one."""
    arms = [(summary["label"], summary)]
    if summary.get("teacher"):
        arms.insert(0, (f"teacher {summary['teacher']['label']}", summary["teacher"]))
    return arms


def print_settings(config: DictConfig, folder: Path, console: Console | None = None) -> None:
    """What was asked for beside the defaults; with `print_config=all` every setting."""
    console = console or screen()
    title = f"{config.name} -> {shown_path(folder)}"
    if config.print_config == "all":
        plain: Any = OmegaConf.to_container(config, resolve=True)
        console.print(config_tree(plain, title), soft_wrap=True)
        return
    given = [text.lstrip("+") for text in HydraConfig.get().overrides.task] if HydraConfig.initialized() else []
    tree = Tree(Text(title, style="bold"))
    for key, _, value in (text.partition("=") for text in given):
        tree.add(Text.assemble(f"{key}: ", (value or "taken away", "green")))
    console.print(tree, soft_wrap=True)
    console.print("all settings: config.yaml in that folder, or print_config=all", style="dim")


def print_next(commands: Sequence[tuple[str, str]], console: Console | None = None) -> None:
    """What to type next, whole, so that it can be pasted."""
    console = console or screen()
    console.print("next:")
    for what, command in commands:
        console.print(Text(f"  {what + ':':<10}{command}"), soft_wrap=True)


def trained_as(summary: Mapping[str, Any], config: DictConfig) -> str:
    """How a training ended, in a few words, without figures of test."""
    monitor = str(config.callbacks.checkpoint.monitor)
    value = summary["val"].get(monitor.removeprefix("val/"))
    figure = "" if value is None else f"{monitor} {value:.4f} "
    return f"{figure}in epoch {summary['best_epoch']} of {config.trainer.max_epochs}"


def result_columns() -> list[str]:
    """The names of the columns of `result_rows`."""
    return ["", *(metric.label for metric in table_metrics()), "params", "trainable", "FLOPs", "ratio", "latency"]


def result_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """One row per network, as wide as `result_columns`: the teacher first where there is one.

    `ratio` is the teacher's FLOPs over the row's own.
    """
    arms = _arms(summary)
    heaviest = arms[0][1]["cost"]["flops"]
    return [
        [
            label,
            *(_figure(metric, arm["test"]) for metric in table_metrics()),
            f"{arm['cost']['params_total']:,}",
            f"{arm['cost']['params_trainable']:,}",
            flops(arm["cost"]),
            f"{heaviest / arm['cost']['flops']:.1f} x" if arm["cost"]["flops"] else "-",
            latency(arm["cost"]),
        ]
        for label, arm in arms
    ]


def _figure(metric: Metric, figures: Mapping[str, float]) -> str:
    return metric.shown(figures[metric.key]) if metric.key in figures else "-"


def flops(cost: Mapping[str, Any]) -> str:
    """Of one image, to three digits; '>=' where an operator that may be heavy is not counted."""
    short = f"{cost['flops']:.2e}".replace("e+0", "e")
    return f">= {short}" if cost.get("heavy_uncounted_ops") else short


def lower_bounds(costs: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """A line for each network whose FLOPs are a lower bound: which operators that may be heavy are not counted."""
    named = [(label, cost.get("heavy_uncounted_ops")) for label, cost in costs]
    return [f"FLOPs of {label} leave out {', '.join(left_out)}" for label, left_out in named if left_out]


def latency(cost: Mapping[str, Any]) -> str:
    """Of one image, to three digits; an older kdistill did not measure it."""
    if "latency_ms" not in cost:
        return "-"
    value = cost["latency_ms"]
    return f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"


def print_result(summary: Mapping[str, Any], folder: str, console: Console | None = None) -> None:
    """The final table, what else is worth a line, and where the run lies."""
    console = console or screen()
    table = Table(title=f"{summary['experiment']}, seed {summary['seed']}: test set", title_justify="left", **_PLAIN)
    columns, rows = result_columns(), result_rows(summary)
    # What trains is worth a column where it is not everything.
    shown = [n for n, name in enumerate(columns) if name != "trainable" or any(row[n] != row[n - 1] for row in rows)]
    if "latency_on" not in summary["cost"]:
        shown.remove(columns.index("latency"))
    for n in shown:
        table.add_column(columns[n], justify="left" if n == 0 else "right", no_wrap=n > 0, overflow="fold")
    for row in rows:
        table.add_row(*(row[n] for n in shown))
    console.print(table)
    for line in lower_bounds((label, arm["cost"]) for label, arm in _arms(summary)):
        console.print(line, soft_wrap=True)
    others = [metric for metric in METRICS.values() if not metric.in_table and metric.key in summary["test"]]
    figures = [f"{metric.label} {_figure(metric, summary['test'])}" for metric in others if not metric.by_teacher]
    line = f"epoch {summary['best_epoch']} was chosen on validation; on test: {', '.join(figures)}"
    held = [f"{metric.label} {_figure(metric, summary['test'])}" for metric in others if metric.by_teacher]
    console.print(line + ("; with the teacher: " + ", ".join(held) if held else ""), soft_wrap=True)
    if "latency_on" in (cost := summary["cost"]):
        spread = f"interquartile range {cost['latency_iqr_ms']:.2g} ms"
        console.print(f"latency: one image on {cost['latency_on']}, median of many; {spread}", soft_wrap=True)
    if "threshold" in summary:
        chosen = summary["threshold"]
        figures = [f"{METRICS[key].label} {METRICS[key].shown(value)}" for key, value in chosen["test"].items()]
        line = f"at the threshold {chosen['value']:.3f}, chosen on validation: {', '.join(figures)}"
        console.print(line, soft_wrap=True)
    for agreed, found in summary.get("test_by_agreement", {}).items():
        figures = [f"{metric.label} {metric.shown(found[key])}" for key, metric in METRICS.items() if key in found]
        console.print(f"annotators {agreed}: {found['n']} images, {', '.join(figures)}")
    seconds = summary["time_s"]
    spent = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items() if value)
    console.print(f"time: {spent}", soft_wrap=True)
    console.print(f"run folder: {folder}", soft_wrap=True)


def print_evaluation(result: Mapping[str, Any], console: Console | None = None) -> None:
    """Figures of `kdistill.evaluate`, beside the run's own where the data are the same."""
    console = console or screen()
    table = Table(title=f"{result['label']}: test set of {result['dataset_root']}", title_justify="left", **_PLAIN)
    for column in ("", "now", "recorded"):
        table.add_column(column, justify="left" if column == "" else "right")
    recorded = result["recorded"] or {}
    for name, value in result["test"].items():
        table.add_row(name, f"{value:.6f}", f"{recorded[name]:.6f}" if name in recorded else "-")
    console.print(table)
    if result["teacher"]:
        console.print(f"teacher: {result['teacher']}", soft_wrap=True)
    console.print(f"run folder: {result['run']}", soft_wrap=True)
