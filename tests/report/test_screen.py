"""The table that a run ends with."""

import io

from rich.console import Console

from kdistill.report.screen import COLUMNS, config_tree, print_result, result_rows


def arm(accuracy: float, params: int, flops: int) -> dict[str, object]:
    test = {"accuracy": accuracy, "f1": 0.99, "auroc": 0.9999, "nll": 0.02, "ece": 0.003}
    return {"test": test, "cost": {"params_total": params, "params_trainable": params, "flops": flops}}


SUMMARY = arm(0.9905, 623_290, 1_244_992) | {
    "experiment": "mnist_distill",
    "seed": 0,
    "label": "mnist_mlp distilled",
    "best_epoch": 19,
    "data": {"class_names": list("0123456789")},
    "time_s": {"total": 300.4, "fit": 107.0, "teacher": 0.0},
    "teacher": arm(0.993, 1_011_466, 21_875_456) | {"label": "mnist_cnn"},
}


def printed(width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_result(SUMMARY, "outputs/here", console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_teacher_comes_first_and_the_ratio_is_of_flops() -> None:
    teacher, student = result_rows(SUMMARY)
    assert teacher == ["mnist_cnn", "99.30%", "0.9900", "0.99990", "1,011,466", "1,011,466", "2.19e7", "1.0 x"]
    assert student == ["mnist_mlp distilled", "99.05%", "0.9900", "0.99990", "623,290", "623,290", "1.24e6", "17.6 x"]
    assert len(COLUMNS) == len(student)


def test_the_table_is_whole_on_a_screen_of_80_columns() -> None:
    text = printed(80)
    assert "…" not in text
    for word in ("mnist_mlp", "distilled", "1,011,466", "17.6 x", "epoch 20", "total 300 s, fit 107 s", "outputs/here"):
        assert word in text
    assert "teacher 0 s" not in text


def test_the_config_tree_shows_sections_and_values() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(config_tree({"seed": 0, "loss": {"alpha": 0.9}, "logger": {}}, "mnist -> here"))
    lines = console.file.getvalue().split("\n")  # type: ignore[attr-defined]
    assert lines[0] == "mnist -> here"
    assert [line.strip("│├└─ ") for line in lines[1:5]] == ["seed: 0", "loss", "alpha: 0.9", "logger: -"]
