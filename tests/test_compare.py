"""`python -m kdistill.compare +experiment=...`: trains what is missing, each in a process of its own, then compares."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from tiny_runs import on_digits

NAMES = ("smoothed", "distilled")
KILLS_ONCE = """
import os, signal
from pathlib import Path
from pytorch_lightning import Callback

class KillsOnce(Callback):
    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 2 and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""


def door(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kdistill.compare", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def small(mnist_root: Path, *more: str) -> list[str]:
    sizes = [f"dataset.root={mnist_root}", "dataset.limit=1500", "dataset.val_size=500", "trainer.max_epochs=1"]
    return ["+experiment=mnist_distill", *sizes, "teacher_cache=teachers", *more]


@pytest.mark.slow
def test_help_and_completion_answer(tmp_path: Path) -> None:
    assert "python -m kdistill.compare +experiment=mnist_distill" in door(tmp_path, "--help").stdout
    shown = door(tmp_path, "+experiment=mnist_distill", "--cfg", "job").stdout
    assert "seeds: 3" in shown and "temperature: 2.0" in shown


def test_mistakes_of_either_kind_are_told_together_and_nothing_runs(tmp_path: Path) -> None:
    done = door(tmp_path, "+experiment=mnist_distill", "seedz=2", "loss.temprature=3")
    assert done.returncode == 2 and "did you mean 'seed' or 'seeds'?" in done.stderr
    assert "did you mean 'loss.temperature'?" in done.stderr and list(tmp_path.iterdir()) == []


@pytest.mark.slow
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

    report_of = shlex.split(first.stdout.splitlines()[-1].partition("as one page: ")[2])
    assert report_of == ["python", "-m", "kdistill.report", f"outputs/compare/{folder.name}"]
    assert shlex.split(report["command"]) == ["python", "-m", "kdistill.compare", *asked]

    # Another temperature: the control without a teacher is there, the one with smoothed labels is not.
    more = [text for text in asked if not text.startswith(("seeds=", "controls="))]
    second = door(tmp_path, "seeds=1", "loss.temperature=8", "logger=wandb", "logger.wandb.mode=offline", *more)
    assert second.returncode == 0, second.stdout + second.stderr
    assert f"reused scratch-seed0: finished with the same settings on the same data in {folder}" in second.stdout
    assert "2 trainings, 1 at a time, 1 finished before" in second.stdout
    other = next(path for path in (tmp_path / "outputs" / "compare").iterdir() if path != folder)
    assert json.loads((other / "scratch-seed0" / "summary.json").read_text()) == summaries["scratch-seed0"]
    assert f"started smoothed-seed0: {other / 'smoothed-seed0' / 'train.log'}" in second.stdout
    smoothed, distilled = (yaml.safe_load((other / f"{arm}-seed0" / "config.yaml").read_text()) for arm in NAMES)
    assert smoothed["loss"]["label_smoothing"] == 0.1 and distilled["loss"]["temperature"] == 8
    assert smoothed["logger"]["wandb"]["group"] == distilled["logger"]["wandb"]["group"] == other.name
    assert all(len(list(other.glob(f"{arm}-seed0/wandb/offline-run-*"))) == 1 for arm in NAMES)
    found = json.loads((other / "comparison.json").read_text())
    prints = {json.loads((other / f"{arm}-seed0" / "summary.json").read_text())["fingerprint"] for arm in NAMES}
    assert len(prints | {summaries["scratch-seed0"]["fingerprint"]}) == 3, "three networks"
    assert [pair["baseline"] for pair in found["pairs"]] == ["scratch", "smoothed"]


@pytest.mark.slow
def test_a_killed_arm_goes_on_where_it_was_when_the_comparison_is_started_again(blocks: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.py").write_text(KILLS_ONCE)
    asked = [
        *("+experiment=mnist_distill", *on_digits(blocks)),
        *(
            "trainer.max_epochs=3",
            "trainer.tune=off",
            "teacher.gate=off",
            "teacher.recipe_overrides=['trainer.max_epochs=1']",
        ),
        *("seeds=1", "controls=[scratch]", "+callbacks.cut._target_=cut.KillsOnce"),
    ]
    first = door(tmp_path, *asked)
    assert first.returncode == 1 and "distilled-seed0" in first.stdout and "exit code -9" in first.stdout, first.stderr
    again = door(tmp_path, *asked)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "1 training, 1 at a time, 1 finished before" in again.stdout
    (place,) = (tmp_path / "outputs" / "compare").glob("*/distilled-seed0")
    assert "goes on from" in (place / "train.log").read_text()
    rows = (place / "metrics.csv").read_text()
    assert (place / "summary.json").is_file() and rows.count("\n") >= 3


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
