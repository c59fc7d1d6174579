"""The table that a run ends with."""

import io
from dataclasses import replace
from typing import Any

import pytest
from records import DATA, TEACHER, record
from rich.console import Console
from rich.table import Table

from kdistill.base.cost import Cost
from kdistill.reporting.screen import config_tree, print_result, result_columns, result_rows
from kdistill.runs.record import RunRecord, Times
from kdistill.screen.console import new_console


def arm(accuracy: float, params: int, flops: int) -> dict[str, Any]:
    test = {"accuracy": accuracy, "f1": 0.99, "auroc": 0.9999, "nll": 0.02, "ece": 0.003}
    return {"test": test, "cost": Cost(params, params, flops // 2, flops, (), ())}


RECORD = record(
    "distill",
    **arm(0.9905, 623_290, 1_244_992),
    experiment="mnist_distill",
    label="mnist_mlp distilled",
    best_epoch=20,
    data=replace(DATA, class_names=tuple("0123456789")),
    time_s=Times(300.4, 107.0, 0.0, 0.0),
    teacher=replace(TEACHER, label="mnist_cnn", **arm(0.993, 1_011_466, 21_875_456)),
)


def timed(cost: Cost, milliseconds: float) -> Cost:
    return replace(cost, latency_ms=milliseconds, latency_iqr_ms=0.00123, latency_on="cpu, 1 thread")


def printed(width: int, found: RunRecord = RECORD) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_result(found, "outputs/here", console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_teacher_comes_first_and_the_ratio_is_of_flops() -> None:
    teacher, student = result_rows(RECORD)
    figures = ["99.30%", "0.9900", "0.99990", "1,011,466", "1,011,466", "2.19e7", "1.0 x", "-"]
    assert teacher == ["teacher mnist_cnn", *figures]
    figures = ["99.05%", "0.9900", "0.99990", "623,290", "623,290", "1.24e6", "17.6 x", "-"]
    assert student == ["mnist_mlp distilled", *figures]
    assert len(result_columns()) == len(student)


def test_the_table_is_whole_on_a_screen_of_80_columns() -> None:
    text = printed(80)
    assert "…" not in text
    for word in ("mnist_mlp", "distilled", "1,011,466", "17.6 x", "epoch 20", "total 300 s, fit 107 s", "outputs/here"):
        assert word in text
    assert "teacher 0 s" not in text and "latency" not in text, "nobody has measured it"


def test_what_has_no_column_stands_in_the_line_below_under_the_name_that_the_catalogue_gives_it() -> None:
    held = {"balanced_accuracy": 0.98765, "agreement_top1": 0.991, "agreement_kl": 0.02}
    line = " ".join(printed(200, replace(RECORD, test=RECORD.test | held)).split())
    own = "on test: balanced accuracy 98.77%, NLL 0.0200, ECE 0.0030"
    assert f"{own}; with the teacher: agreement 99.10%, KL 0.0200" in line


def test_names_stay_whole_where_not_everything_trains() -> None:
    part = replace(RECORD, cost=replace(timed(RECORD.cost, 0.7), params_trainable=315_776))
    text = printed(80, part)
    assert "mnist_mlp" in text and "distilled" in text
    assert "mnist_mlp distilled: 315,776 of its parameters are trained" in text and "teacher mnist_cnn:" not in text


@pytest.mark.parametrize("width", [80, 110])
def test_latency_has_a_column_and_a_line_on_what_it_was_measured(width: int) -> None:
    teacher = replace(RECORD.teacher, cost=timed(RECORD.teacher.cost, 123.4))
    text = printed(width, replace(RECORD, cost=timed(RECORD.cost, 0.10246), teacher=teacher))
    assert "…" not in text
    for word in ("latency", "0.102 ms", "123 ms", "17.6 x", "1,011,466"):
        assert word in text
    said = "latency: one image on cpu, 1 thread, median of many; interquartile range 0.0012 ms"
    assert said in " ".join(text.split())


def test_the_config_tree_shows_sections_and_values() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(config_tree({"seed": 0, "loss": {"alpha": 0.9}, "logger": {}}, "mnist -> here"))
    lines = console.file.getvalue().split("\n")  # type: ignore[attr-defined]
    assert lines[0] == "mnist -> here"
    assert [line.strip("│├└─ ") for line in lines[1:5]] == ["seed: 0", "loss", "alpha: 0.9", "logger: -"]


@pytest.mark.parametrize("name", ["[/red]", "[bold]net", ":car:", "a[link=https://x]b"])
def test_a_name_that_rich_would_read_as_its_own_sign_is_shown_as_it_is(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console = new_console()
    console.print(config_tree({"name": name, "student": {name: name}}, name), soft_wrap=True)
    table = Table(name)
    table.add_row(name)
    console.print(table)
    console.print(f"run folder: {name}")
    assert capsys.readouterr().out.count(name) == 7
    print_result(replace(RECORD, label=name), name, console)
    assert capsys.readouterr().out.count(name) >= 2
