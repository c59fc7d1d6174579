"""Loggers for real: TensorBoard's event file, and offline W&B runs read back with W&B's own reader."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import on_digits

from kdistill.base.errors import UserError
from kdistill.compare import job as compare_job
from kdistill.config.compose import compose_config
from kdistill.runs.folder import RunFolder
from kdistill.runs.record_file import as_plain
from kdistill.tracking.wandb_run import open_run
from kdistill.training.run import run

SIZES = ["dataset.limit=100", "trainer.max_epochs=2"]


class Records:
    """The only W&B run right below a folder."""

    def __init__(self, folder: Path) -> None:
        files = list(folder.glob("wandb/*run-*/run-*.wandb"))
        assert len(files) == 1, files
        (self.file,) = files
        reader = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(self.file)]
        lines = subprocess.run(reader, capture_output=True, text=True, check=True).stdout.splitlines()
        self.all = [json.loads(line) for line in lines]
        (self.head,) = self.of_kind("run")
        self.config = {key: value for record in self.of_kind("config") for key, value in record["update"].items()}
        self.summary = {key: value for record in self.of_kind("summary") for key, value in record["update"].items()}
        self.history = [record["item"] for record in self.of_kind("history")]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [record[kind] for record in self.all if record["type"] == kind]

    def curve(self, name: str) -> list[tuple[int, float]]:
        """Epoch and value of each row of the history that has it."""
        return [(row["epoch"], row[name]) for row in self.history if name in row]

    def media(self, key: str) -> Path:
        """The file that a record of the history names."""
        (row,) = [row for row in self.history if f"{key}.path" in row]
        return self.file.parent / "files" / row[f"{key}.path"]

    def table(self, key: str) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows of a table, or of what a chart is drawn from."""
        content = json.loads(self.media(key).read_text())
        return content["columns"], content["data"]

    def drawn(self, key: str) -> tuple[str, list[list[Any]]]:
        """W&B's kind of a chart, and the rows that it is drawn from."""
        panel = self.config[f"_wandb.visualize.{key}"]["panel_config"]
        assert panel["userQuery"]["queryFields"][0]["fields"][-1]["args"][0]["value"] == f"{key}_table"
        return panel["panelDefId"], self.table(f"{key}_table")[1]


def without_key(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """As on a machine where nobody ever used W&B."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("NETRC", str(home / "no-netrc"))


@pytest.fixture
def tiny(blocks: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A scratch run of a second, where neither a key nor a terminal is there."""
    without_key(monkeypatch, tmp_path / "home")
    return ["+experiment=mnist_scratch", *on_digits(blocks), *SIZES]


@pytest.fixture(scope="module")
def distilled(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a distilled student (`student`), its teacher trained first (`teachers/*`), home and cwd."""
    here = tmp_path_factory.mktemp("distilled")
    (here / "cwd").mkdir()
    asked = [
        *("+experiment=mnist_distill", *on_digits(blocks), *SIZES, f"teacher_cache={here / 'teachers'}"),
        *("teacher.recipe_overrides=['trainer.max_epochs=2']", "teacher.gate=off", f"replay.cache={here / 'replay'}"),
        *("logger=wandb", "logger.wandb.log_model=true", "logger.wandb.tags=[first,try]", "seed=3"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        without_key(patch, here / "home")
        patch.chdir(here / "cwd")
        config = compose_config(asked)
        run(config, here / "student")
    return here


@pytest.fixture(scope="module")
def student(distilled: Path) -> Records:
    return Records(distilled / "student")


@pytest.fixture(scope="module")
def teacher(distilled: Path) -> Records:
    (folder,) = (distilled / "teachers").glob("mnist_cnn-*")
    return Records(folder)


def test_each_job_is_one_offline_run_with_its_group_job_type_seed_and_tags(student: Records, teacher: Records) -> None:
    for records, name, kind, seed in (
        (student, "mnist_distill", "distill", 3),
        (teacher, "mnist_teacher", "teacher", 0),
    ):
        head = records.head
        assert "offline-run" in str(records.file), "W&B's files lie in the run folder"
        assert (head["display_name"], head["job_type"]) == (f"{name}-seed{seed}", kind)
        assert head["run_group"] == "mnist_distill", "the teacher's run too is found beside the student's"
        assert head["tags"] == ["first", "try", f"seed{seed}"]
        assert [record["exit_code"] for record in records.of_kind("exit")] == [0]


def test_every_value_of_the_config_is_there(distilled: Path, student: Records) -> None:
    from omegaconf import OmegaConf

    def leaves(node: Any, key: str = "") -> dict[str, Any]:
        if not isinstance(node, dict) or not node:
            return {key: node}
        return {k: v for name, inner in node.items() for k, v in leaves(inner, f"{key}.{name}".lstrip(".")).items()}

    expected = leaves(OmegaConf.to_container(RunFolder(distilled / "student").config()))
    assert len(expected) > 60
    assert {key: value for key, value in leaves(student.config).items() if not key.startswith("_wandb")} == expected


def test_curves_of_every_loss_part_and_metric_go_by_epoch(distilled: Path, student: Records) -> None:
    by_glob = {metric["glob_name"]: metric["step_metric"] for metric in student.of_kind("metric")}
    assert by_glob == dict.fromkeys(("train/*", "val/*", "teacher/*", "lr-*"), "epoch")
    rows = RunFolder(distilled / "student").curves()
    for curve in ("train/loss", "train/ce", "train/kd", "val/accuracy", "val/nll", "val/auroc"):
        expected = {int(row["epoch"]): float(row[curve]) for row in rows if row[curve]}
        assert dict(student.curve(curve)) == pytest.approx(expected) and list(expected) == [1, 2]
    assert [epoch for epoch, _ in student.curve("lr-AdamW")] == [1, 2]


def test_the_teachers_line_is_beside_the_students(distilled: Path, student: Records, teacher: Records) -> None:
    facts = RunFolder(distilled / "student").record().teacher
    for metric in ("accuracy", "nll"):
        assert student.curve(f"teacher/{metric}") == [(1, facts.val[metric]), (2, facts.val[metric])]
    kind, rows = student.drawn("charts/val_accuracy")
    assert kind == "wandb/lineseries/v0"
    level = facts.val["accuracy"]
    assert sorted(row for row in rows if row[1] == "teacher") == [[1, "teacher", level], [2, "teacher", level]]
    assert [row[2] for row in sorted(rows) if row[1] == "student"] == pytest.approx(
        [value for _, value in student.curve("val/accuracy")]
    )
    assert not [row for row in teacher.history if any(key.startswith("teacher/") for key in row)]


def test_the_summary_has_the_chosen_checkpoints_figures_and_what_it_cost(distilled: Path, student: Records) -> None:
    found = RunFolder(distilled / "student").record()
    for part, figures in (("val", found.val), ("test", found.test)):
        assert {name: student.summary[f"{part}/{name}"] for name in figures} == figures
    assert student.summary["cost"]["flops"] == 1_244_992
    for key in ("cost", "best_epoch", "time_s", "teacher", "hardware"):
        assert student.summary[key] == as_plain(getattr(found, key))
    columns, rows = student.table("final_table")
    assert columns[1] == "accuracy" and [row[0] for row in rows] == ["teacher mnist_cnn", "mnist_mlp distilled"]
    assert rows[1][1] == f"{found.test['accuracy']:.2%}"


def test_charts_of_the_test_set_hold_what_the_predictions_say(distilled: Path, student: Records) -> None:
    test = RunFolder(distilled / "student").read_predictions("test")
    kind, rows = student.drawn("charts/student_confusion")
    named = test["logits"].argmax(1)
    expected = {(n, k): int(((test["target"] == n) & (named == k)).sum()) for n in range(10) for k in range(10)}
    assert kind == "wandb/confusion_matrix/v1"
    assert {(int(true), int(name)): count for true, name, count in rows} == expected
    assert sum(row[2] for row in student.drawn("charts/teacher_confusion")[1]) == 200
    for key, ends in (("charts/roc", [0, 0, 1, 1]), ("charts/precision_recall", None)):
        kind, rows = student.drawn(key)
        assert kind == "wandb/area-under-curve/v0" and len(rows) <= 12 * 200
        lines = {row[0] for row in rows}
        assert lines == {f"{who}, mean of the classes" for who in ("student", "teacher")} | {
            f"student, {digit}" for digit in range(10)
        }
        three = [row[1:] for row in rows if row[0] == "student, 3"]
        assert ends is None or [*three[0], *three[-1]] == ends
    kind, rows = student.drawn("charts/reliability")
    assert kind == "wandb/lineseries/v0" and {row[1] for row in rows} >= {"honest", "student", "teacher"}


def test_wrong_images_are_shown_and_said_to_be_what(distilled: Path, student: Records) -> None:
    (row,) = [row for row in student.history if "mistakes.count" in row]
    folder = RunFolder(distilled / "student")
    test = folder.read_predictions("test")
    with np.load(folder.mistakes) as kept:
        assert 0 < row["mistakes.count"] == min(24, len(kept["index"]))
    for caption, name in zip(row["mistakes.captions"], row["mistakes.filenames"], strict=True):
        number, true, answer, taught = caption.split("\n")
        place = test["index"].tolist().index(int(number.removeprefix("test image ")))
        target, said, teachers = (
            test["target"][place], test["logits"][place].argmax(), test["teacher_logits"][place].argmax()
        )  # fmt: skip
        assert true == f"true {target}" and target in {target, said, teachers} and {said, teachers} != {target}
        assert answer.startswith(f"student {said} (") and taught.startswith(f"teacher {teachers} (")
        assert (student.file.parent / "files" / name).is_file()


def test_the_weights_are_an_artifact_that_the_teachers_led_to(student: Records, teacher: Records) -> None:
    def models(records: Records) -> list[dict[str, Any]]:
        return [artifact for artifact in records.of_kind("artifact") if artifact["type"] == "model"]

    def content(artifact: dict[str, Any]) -> list[tuple[str, str]]:
        return [(entry["path"], entry["local_path"]) for entry in artifact["manifest"]["contents"]]

    (made,) = models(teacher)
    used, own = models(student)
    assert made["name"] == used["name"] == "model-mnist_teacher-seed0", "one artifact, whoever logs it first"
    assert made["digest"] == used["digest"] and content(made) == content(used)
    assert used["use_after_commit"] and "use_after_commit" not in own and "use_after_commit" not in made
    assert own["name"] == "model-mnist_distill-seed3"
    ((name, path),) = content(own)
    assert name == "student.safetensors" and Path(path) == student.file.parents[2] / name
    assert json.loads(own["metadata"])["teacher"]["label"] == "mnist_cnn"


def test_what_is_to_be_uploaded_lies_in_the_run_folder_and_nowhere_else(distilled: Path, student: Records) -> None:
    assert list((distilled / "cwd").iterdir()) == []
    assert {path.name for path in (distilled / "home").rglob("*") if path.is_file() and path.suffix != ".log"} == set()
    for artifact in student.of_kind("artifact"):
        for entry in artifact["manifest"]["contents"]:
            path = Path(entry["local_path"])
            assert path.is_file() and distilled in path.parents


@pytest.mark.slow
def test_a_failed_run_is_marked_failed_and_started_again_it_is_the_same_run(tiny: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the training loss is"):
        run(compose_config([*tiny, "logger=wandb", "optimizer.lr=1e30"]), tmp_path / "run")
    failed = Records(tmp_path / "run")
    assert [record["exit_code"] for record in failed.of_kind("exit")] == [1]
    again = open_run(
        project="kdistill", name="again", group="g", job_type="student", tags=[], mode=None, save_dir=tmp_path / "run"
    )
    again.finish()
    assert again.id == failed.head["run_id"]
    other = open_run(
        project="kdistill", name="other", group="g", job_type="student", tags=[], mode=None, save_dir=tmp_path / "other"
    )
    other.finish()
    assert other.id != again.id


def test_of_an_agents_job_only_the_first_run_is_logged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_key(monkeypatch, tmp_path / "home")
    monkeypatch.setenv("WANDB_SWEEP_ID", "a-sweep")
    monkeypatch.setenv("WANDB_RUN_ID", "from-the-agent")
    for name in ("student", "teacher"):
        opened = open_run(
            project="p", name=name, group="g", job_type="distill", tags=[], mode="offline", save_dir=tmp_path / name
        )
        assert opened.disabled == (name == "teacher")
        opened.finish()


def test_wandb_can_be_switched_off(tiny: list[str], tmp_path: Path) -> None:
    found = run(compose_config([*tiny, "logger=wandb", "logger.wandb.mode=disabled"]), tmp_path / "run")
    assert found.test["accuracy"] > 0 and not list(tmp_path.rglob("*.wandb"))


@pytest.mark.slow
def test_the_jobs_of_a_sweep_are_one_group_and_named_by_what_sets_them_apart(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_key(monkeypatch, tmp_path / "home")
    command = [sys.executable, "-m", "kdistill.train", "-m", "+experiment=mnist_scratch", *SIZES]
    command += [*on_digits(blocks), "optimizer.lr=1e-3,2e-3", "logger=wandb"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (sweep,) = (tmp_path / "outputs" / "sweeps" / "mnist_scratch").iterdir()
    heads = [Records(path.parent).head for path in sorted(sweep.glob("*/summary.json"))]
    assert [head["run_group"] for head in heads] == [f"mnist_scratch/{sweep.name}"[-128:]] * 2
    assert [head["display_name"] for head in heads] == [
        f"mnist_scratch-optimizer.lr={rate}-seed0" for rate in (0.001, 0.002)
    ]


@pytest.mark.slow
def test_a_comparison_is_a_run_of_its_own(
    distilled: Path, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(compose_config([*tiny, "seed=3"]), tmp_path / "scratch")
    monkeypatch.chdir(tmp_path)
    runs = f"runs=[{distilled / 'student'},{tmp_path / 'scratch'}]"
    compare_job(compose_config([runs, "arms=[mine,scratch]", "output=report", "logger=wandb"], "compare"))
    records = Records(tmp_path / "report")
    head, result = records.head, json.loads((tmp_path / "report" / "comparison.json").read_text())
    assert (head["run_group"], head["job_type"]) == ("report", "compare")
    assert head["display_name"] == "mnist_distill, mnist_scratch-compare"
    columns, rows = records.table("final_table")
    assert columns[:2] == ["arm", "accuracy"] and [row[0].split("\n")[0] for row in rows] == [
        "mnist_cnn",
        "mine",
        "scratch",
    ]
    columns, rows = records.table("verdicts")
    (pair,) = result["pairs"]
    assert {row[2]: row[columns.index("verdict")] for row in rows} == {
        metric: found["verdict"] for metric, found in pair["metrics"].items()
    }
    assert records.table("headlines")[1][0][0].startswith("mine against scratch: ")
    assert "mine against scratch" in records.media("page").read_text()
    assert records.summary["test"]["mine"]["accuracy"] == result["arms"][1]["metrics"]["accuracy"]["mean"]
    assert records.config["compared"]["scratch"]["seeds"] == [3]


def test_tensorboard_holds_the_curves(tiny: list[str], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(compose_config([*tiny, "logger=tensorboard"]), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"train/loss", "train/ce", "val/accuracy", "test/accuracy"} <= set(events.Tags()["scalars"])
    assert len(events.Scalars("val/accuracy")) == 2
