"""`python -m kdistill.compare +experiment=...`: trains what is missing, each in a process of its own, then compares."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def door(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kdistill.compare", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def small(mnist_root: Path, *more: str) -> list[str]:
    sizes = [f"dataset.root={mnist_root}", "dataset.limit=1500", "dataset.val_size=500", "trainer.max_epochs=1"]
    return ["+experiment=mnist_distill", *sizes, "teacher_cache=teachers", *more]


def test_help_and_completion_answer(tmp_path: Path) -> None:
    assert "python -m kdistill.compare +experiment=mnist_distill" in door(tmp_path, "--help").stdout
    shown = door(tmp_path, "+experiment=mnist_distill", "--cfg", "job").stdout
    assert "seeds: 3" in shown and "temperature: 2.0" in shown


def test_mistakes_of_either_kind_are_told_together_and_nothing_runs(tmp_path: Path) -> None:
    done = door(tmp_path, "+experiment=mnist_distill", "seedz=2", "loss.temprature=3")
    assert done.returncode == 2 and "did you mean 'seed' or 'seeds'?" in done.stderr
    assert "did you mean 'loss.temperature'?" in done.stderr and list(tmp_path.iterdir()) == []


def test_an_experiment_without_a_teacher_has_nothing_to_prove(tmp_path: Path) -> None:
    done = door(tmp_path, "+experiment=mnist_scratch")
    assert done.returncode == 2 and "role=distill" in done.stderr and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_experiment_is_trained_compared_and_not_trained_again(mnist_root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    recipe = "# @package _global_\ndefaults:\n  - mnist_teacher\nname: mine\ntrainer:\n  max_epochs: 1\n"
    (tmp_path / "mine" / "experiment" / "my_teacher.yaml").write_text(recipe)
    asked = small(mnist_root, "seeds=2", "controls=[scratch]", "teacher.recipe=my_teacher", "--config-dir", "mine")
    first = door(tmp_path, *asked)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "4 trainings, 1 at a time, 0 finished before" in first.stdout
    assert "[4/4] distilled-seed1" in first.stdout and "distilled against scratch" in first.stdout
    (folder,) = (tmp_path / "outputs" / "compare").glob("mnist_distill-*")
    assert len(list((tmp_path / "teachers").glob("mnist_cnn-*"))) == 1, "one teacher for all seeds"
    summaries = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/summary.json")}
    assert set(summaries) == {f"{arm}-seed{seed}" for arm in ("scratch", "distilled") for seed in (0, 1)}
    assert {one["data"]["fingerprint"] for one in summaries.values()} == {
        summaries["scratch-seed0"]["data"]["fingerprint"]
    }
    again = door(tmp_path, *asked)
    assert again.returncode == 0 and "0 trainings, 1 at a time, 4 finished before" in again.stdout
    report = json.loads((folder / "comparison.json").read_text())
    accuracy = {arm["name"]: arm["metrics"]["accuracy"]["values"] for arm in report["arms"]}
    for arm in ("scratch", "distilled"):
        expected = [summaries[f"{arm}-seed{seed}"]["test"]["accuracy"] for seed in (0, 1)]
        assert accuracy[arm] == pytest.approx(expected)


@pytest.mark.slow
def test_a_failing_training_gives_exit_code_1_and_the_others_are_kept(mnist_root: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    asked = small(mnist_root, "seeds=1", "controls=[scratch]", "teacher.checkpoint=torn.safetensors", "jobs=2")
    done = door(tmp_path, *asked)
    assert done.returncode == 1
    assert "distilled-seed0" in done.stdout and "FAILED" in done.stdout and "torn.safetensors" in done.stdout
    assert "a training failed" in done.stderr and "one arm" in done.stdout
    (folder,) = (tmp_path / "outputs" / "compare").glob("mnist_distill-*")
    assert (folder / "scratch-seed0" / "summary.json").is_file() and (folder / "comparison.json").is_file()
    assert not (folder / "distilled-seed0" / "summary.json").exists()
