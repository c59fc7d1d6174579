"""The commands of a page can be pasted into a shell, and Hydra takes them."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from kdistill.comparison.estimate import compare
from kdistill.config.compose import check_overrides, compose_config
from kdistill.reporting.arms import shown_arms
from kdistill.reporting.commands import do_again
from kdistill.runs.collect import subject_of
from kdistill.runs.folder import RunFolder

JOB = ("+experiment=mnist_distill", "loss.alpha=0.5")


def block(folder: Path, *names: str) -> str:
    subject = subject_of([str(folder)], names)
    arms = shown_arms(compare(subject.arms, subject.title), subject.arms)
    return do_again(arms, subject, "python -m kdistill.report here")


def lines(folder: Path) -> dict[str, list[str]]:
    """The lines of each part, without remarks."""
    text = block(folder)
    parts: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("## "):
            parts[line[3:]] = []
        elif parts and line and not line.startswith("# "):
            list(parts.values())[-1].append(line)
    return parts


@pytest.fixture
def sweep(make_run: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "loss.alpha,loss.temperature"
    for temperature, val in ((1, 0.8), (2, 0.9)):
        job = (*JOB, f"loss.temperature={temperature}")
        place = folder / f"loss.alpha=0.5,loss.temperature={temperature}"
        make_run(place, "distill", val_accuracy=val, job=job, temperature=temperature)
    return folder


def test_a_folder_with_hydras_signs_in_its_name_can_be_tested_again(sweep: Path) -> None:
    (line,) = lines(sweep)["the same figures from a run's files"]
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "kdistill.evaluate"]
    config, found = check_overrides(words[3:], "evaluate")
    assert found == [] and config is not None
    assert config.run == str(sweep / "loss.alpha=0.5,loss.temperature=2"), "that of the chosen settings alone"


def test_every_setting_of_a_sweep_has_its_command(sweep: Path) -> None:
    text = " ".join(lines(sweep)["each run"])
    assert "loss.temperature=1" in text and text.count("kdistill.train") == 2


@pytest.mark.parametrize(("where", "file"), [("sweep", "sweep.json"), ("compare", "comparison.json")])
def test_what_was_typed_comes_first(make_run: Any, sweep: Path, tmp_path: Path, where: str, file: str) -> None:
    folder, typed = sweep, f"python -m kdistill.{where} +experiment=mnist_distill"
    if where == "compare":
        folder = tmp_path / "comparison"
        (folder / "arms").mkdir(parents=True)
        (folder / "arms" / "scratch.yaml").write_text("seed: 0\n")
        make_run(folder / "scratch-seed0", "student")
    (folder / file).write_text(json.dumps({"name": "toy"}))
    assert "all of it, as it was typed" not in lines(folder), "an older kdistill did not keep it"
    (folder / file).write_text(json.dumps({"name": "toy", "command": typed}))
    assert next(iter(lines(folder).items())) == ("all of it, as it was typed", [typed])


def test_the_teachers_command_puts_it_where_the_run_looked_for_it(make_run: Any, tmp_path: Path) -> None:
    teacher, run = tmp_path / "big, good", make_run(tmp_path / "run", "distill", temperature=2)
    whole = compose_config(["+experiment=mnist_teacher", "seed=3"])
    config = OmegaConf.create(OmegaConf.to_yaml(whole, resolve=True))
    assert isinstance(config, DictConfig)
    RunFolder.create(teacher, config)
    said = RunFolder(run).record()
    assert said.teacher is not None
    RunFolder(run).write_record(
        replace(said, teacher=replace(said.teacher, checkpoint=str(teacher / "teacher.safetensors")))
    )
    (line,) = lines(run)["the teacher"]
    words = shlex.split(line)
    assert words[:5] == ["python", "-m", "kdistill.train", "+experiment=mnist_teacher", "seed=3"]
    assert words[5:] == [f'hydra.run.dir="{teacher}"'] and check_overrides(words[3:])[1] == []


def test_a_teacher_without_a_run_folder_is_named(make_run: Any, tmp_path: Path) -> None:
    assert lines(make_run(tmp_path / "run", "distill", temperature=2))["the teacher"] == []


def test_a_name_of_two_lines_stays_in_its_remark(make_run: Any, tmp_path: Path) -> None:
    text = block(make_run(tmp_path / "run", "distill", temperature=2), "mine\nrm -r x \x1b[31m")
    assert "# mine rm -r x \\x1b[31m, seed 0\npython -m kdistill.train " in text
