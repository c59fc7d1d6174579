"""Every file of a finished run, damaged in every way: what reads it answers in words that name a file of the run."""

import copy
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny_runs import TINY_RECIPE, tiny

from kdistill.base.errors import UserError
from kdistill.comparison.estimate import compare
from kdistill.config.compose import compose_config
from kdistill.evaluate import evaluate
from kdistill.reporting.page import report_page
from kdistill.runs.collect import subject_of
from kdistill.runs.folder import RunFolder
from kdistill.runs.job_record import JobRecord
from kdistill.runs.sweep import collect
from kdistill.training.run import run

STORED = ("predictions.npz", "val_predictions.npz", "mistakes.npz")
FILES = ("summary.json", "config.yaml", "metrics.csv", "job.json", *STORED)
READ = {"config.yaml": yaml.safe_load, "summary.json": json.loads, "job.json": json.loads}
OTHERS = (None, [], {}, "x", -1, 2.5, True, float("nan"), 1e308, 10**30, [[1]], "\x1b[31m<script>")
pytestmark = pytest.mark.slow
TRIALS = 60  # of a file, drawn with a seed
GONE = object()


@pytest.fixture(scope="module")
def whole(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that distils, as a sweep's job leaves it."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    recipe = f"teacher.recipe_overrides=[{TINY_RECIPE}]"
    run(compose_config(["+experiment=mnist_distill", recipe, *tiny(blocks, folder.parent / "kept")]), folder)
    JobRecord("start", ("loss.temperature=2.0",), "finished").write(folder)
    np.savez(folder / "mistakes.npz", index=np.arange(3), image=np.zeros((3, 1, 28, 28), np.uint8))
    return folder


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged; without the sums, for whoever makes such a file with intent has fitting ones."""
    shutil.copytree(whole, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "sums.json"))
    return tmp_path / "run"


def page(folder: Path) -> None:
    subject = subject_of([str(folder)], [], for_page=True)
    report_page(compare(subject.arms, subject.title, notes=subject.notes), subject, command="")


def again(folder: Path) -> None:
    evaluate(compose_config([f"run={folder}"], "evaluate"))


def is_refused(read: Callable[[Path], object], folder: Path) -> bool:
    """Whether reading a folder is refused, in words that name a file in it; anything but those words is a failure."""
    try:
        read(folder)
    except UserError as error:
        assert any(str(folder / name) in str(error) for name in (*FILES, "student.safetensors")), str(error)
        return True
    return False


def listed(folder: Path) -> None:
    subject_of([str(folder)], [], for_page=True)


def ranked(folder: Path) -> None:
    """What the end of a sweep reads: a job that cannot be read is a failed one, and the ranking goes on."""
    found = collect(folder.parent, [folder])
    assert found.sweep is not None or found.failed[folder].error


def places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    yield at, node
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield from places(value, (*at, key))


def changed(tree: Any, at: tuple[Any, ...], value: Any) -> Any:
    """A copy of a tree with another value, or none, in one place."""
    if not at:
        return value
    tree = inner = copy.deepcopy(tree)
    for key in at[:-1]:
        inner = inner[key]
    if value is GONE:
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return tree


def trees(tree: Any) -> list[Any]:
    """The tree with one value of another type, out of its range, or gone; so many of them, by a seed."""
    found = [
        (at, other) for at, node in places(tree) for other in (*OTHERS, *([GONE] if at else [])) if other is not node
    ]
    return [changed(tree, *one) for one in random.Random(0).sample(found, TRIALS)]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_short_empty_or_something_else_is_named(damaged: Path, name: str) -> None:
    file = damaged / name
    content = file.read_bytes()
    cuts = [content[: len(content) * part // 7] for part in range(7)]
    for wrong in (*cuts, content[:-1], b"\x00" * 99, b"\xff\xfe", b"PK\x03\x04", b"[" * 100_000, b"- a\n", b"7"):
        file.write_bytes(wrong)
        refused = is_refused(listed, damaged)
        assert refused or wrong in (content[:-1], b"") or name in ("metrics.csv", "config.yaml"), wrong[:40]
        if name in READ and name != "job.json":
            ranked(damaged)


@pytest.mark.parametrize("name", ["summary.json", "job.json"])
def test_a_value_of_another_type_or_out_of_range_is_named(damaged: Path, name: str) -> None:
    file = damaged / name
    tree = READ[name](file.read_text())
    passed = []
    for wrong in trees(tree):
        file.write_text(json.dumps(wrong))
        if not is_refused(listed, damaged):
            passed.append(wrong)
    for wrong in passed[:2]:  # such as a figure that is NaN: it has to be shown all the same
        file.write_text(json.dumps(wrong))
        is_refused(page, damaged)


def test_what_evaluates_a_run_refuses_a_wrong_config_by_its_name(damaged: Path) -> None:
    file = damaged / "config.yaml"
    tree = yaml.safe_load(file.read_text())
    without = [{name: kept for name, kept in tree.items() if name != left_out} for left_out in tree]
    for wrong in (*without, *trees(tree)[:60]):
        file.write_text(yaml.safe_dump(wrong, sort_keys=False))
        is_refused(again, damaged)


@pytest.mark.parametrize("name", STORED)
def test_arrays_of_other_kinds_shapes_and_lengths_are_named(damaged: Path, name: str) -> None:
    with np.load(damaged / name) as content:
        arrays = dict(content)
    for part, array in arrays.items():
        for wrong in (
            array[:-1], array[None], array.astype(object), array.astype(str), array.astype(complex), array[:0],
            array.astype(np.float32) if array.dtype.kind != "f" else array.astype(int), array.reshape(-1)[:1],
            -array.astype(int) - 1, np.array(3.0),
        ):  # fmt: skip
            np.savez(damaged / name, **(arrays | {part: wrong}))
            assert is_refused(listed, damaged), (part, wrong.dtype, wrong.shape)
        if part != "teacher_logits":
            np.savez(damaged / name, **{other: kept for other, kept in arrays.items() if other != part})
            assert is_refused(listed, damaged), f"without {part}"


def test_a_line_of_the_curves_that_is_cut_short_is_named_and_passes_where_a_killed_run_goes_on(damaged: Path) -> None:
    file = damaged / "metrics.csv"
    rows = RunFolder(damaged).curves()
    file.write_text(file.read_text()[:-3])
    with pytest.raises(UserError, match=r"metrics\.csv is damaged \(line \d+"):
        RunFolder(damaged).curves()
    assert RunFolder(damaged).curves(until=10**9) == rows[:-1]
    file.write_text(file.read_text().replace(",", ",x", 9))
    with pytest.raises(UserError, match=r"metrics\.csv is damaged .* or remove .* to go on without the curves so far"):
        RunFolder(damaged).curves(until=10**9)


def test_classes_of_the_summary_that_are_not_those_of_the_predictions_are_named(damaged: Path) -> None:
    content = json.loads((damaged / "summary.json").read_text())
    content["data"]["class_names"].pop()
    (damaged / "summary.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"predictions\.npz is damaged \(logits has the shape \(\d+, 10\), not"):
        listed(damaged)
