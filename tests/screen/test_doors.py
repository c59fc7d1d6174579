"""The commands as a person sees them: in a terminal, with the line that moves, and stopped by Ctrl-C."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_runs import on_digits

Begin = Callable[..., Any]

MOVING = re.compile(r" left (>?\d+:\d\d(:\d\d)?|\?)$")
SOON = 3.0  # seconds, on a machine that does much else besides: a second is what it is meant to take
# What nobody who trains can do anything about.
NOISE = re.compile(r"Warning|fontManager|torchmetrics|Traceback|site-packages")


@pytest.fixture(scope="module")
def quick(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A small student, and a teacher that is trained first, kept for all tests here."""
    kept = tmp_path_factory.mktemp("kept")
    return [
        *on_digits(blocks, val_size=200), "dataset.batch_size=20",
        "teacher.name=mnist_small_cnn", "teacher.gate=off", "teacher.recipe_overrides=['trainer.max_epochs=6']",
        "trainer.max_epochs=10", "trainer.tune=off", "trainer.precision=32-true",
        f"teacher_cache={kept}/teachers", f"replay.cache={kept}/replay",
    ]  # fmt: skip


def test_teacher_and_student_train_in_one_line_and_the_commands_that_are_named_at_the_end_work(
    terminal: Begin, quick: list[str], tmp_path: Path
) -> None:
    more = ["dataset.views=1", "callbacks.checkpoint.monitor=val/auroc", "hydra.run.dir=run"]
    shown = terminal("train", "+experiment=mnist_distill", *quick, *more)
    shown.read()
    assert shown.code == 0 and not NOISE.search(shown.text), shown.text
    assert shown.most_moving == 1 and all(len(line) < 80 for line in shown.moving), shown.moving
    assert not any(MOVING.search(line) for line in shown.lines), "the line is gone in the end"
    seen = "\n".join(shown.moving)
    for word in (r"mnist_s\S* .*epoch \d/6", r"mnist_mlp .*epoch \d+/10", r"loss \d\.\d{4}"):
        assert re.search(word, seen), f"'{word}' is not in\n{seen}"
    assert re.search(r"epoch \d+/10 .*\d+/500.* val/auroc \d\.\d{4}", seen), "images, and the metric that chooses"
    assert not re.search(r"mnist_mlp .* val/accuracy", seen)
    assert "dataset.views: 1" in shown.text and "max_gb" not in shown.text, "what was typed, no more"
    assert shown.text.count("replay.cache:") == 1, "and once, though a teacher was trained too"
    assert len([line for line in shown.lines if re.search(r"^ teacher .*%.* 1\.0 x", line)]) == 1
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 1 <= summary["best_epoch"] <= 10 and f"epoch {summary['best_epoch']} was chosen on validation" in shown.text

    # What comes next, as it stands there.
    commands = {line.split()[0]: words(line.partition(":")[2]) for line in shown.whole[-3:]}
    assert list(commands) == ["evaluate:", "compare:", "report:"] and shown.whole[-4] == "next:"
    evaluated, reported = (terminal(name, *commands[f"{name}:"]) for name in ("evaluate", "report"))
    planned = terminal("compare", *commands["compare:"], "--cfg", "job", "--resolve", width=200)
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    compared = terminal("compare", "runs=[run,again]", "arms=[one,other]", "output=out")
    for then in (evaluated, reported, planned, compared):
        then.read()
        assert then.code == 0 and not NOISE.search(then.text), then.text
    assert "recorded" in evaluated.text and reported.whole[-1].startswith("report: ")
    assert (tmp_path / "run" / "report.html").is_file() and (tmp_path / "out" / "comparison.json").is_file()
    assert re.search("^seeds: 3$", planned.text, re.M) and re.search("^name: mnist_distill$", planned.text, re.M)
    rows = [line for then in (evaluated, compared) for line in then.lines if "  " in line.strip()]
    assert rows and all(len(line) < 80 for line in rows), "no row of a table is wrapped"


@pytest.mark.slow
def test_a_sweep_counts_its_jobs_and_ctrl_c_leaves_what_is_finished(terminal: Begin, quick: list[str]) -> None:
    shown = terminal(
        "train", "-m", "+experiment=mnist_scratch", *scratch(quick), "trainer.max_epochs=10,300", width=120
    )
    shown.read(until=r"\[2/2\] .*epoch ([2-9]|\d\d)/300")
    assert shown.interrupt() < SOON and shown.code == 130
    assert shown.most_moving == 1 and all(len(line) < 120 for line in shown.moving), shown.moving
    assert re.search(r"\] student mnist_mlp  [━·]+  epoch \d+/300  \d+/500 images", "\n".join(shown.moving))
    assert {line[:5] for line in shown.moving} == {"[1/2]", "[2/2]"}
    last = shown.whole[-1]
    assert re.fullmatch(r"stopped: jobs that ended are kept in outputs/sweeps/\S+; this goes on: .*", last), shown.text
    again = terminal("train", *words(last.partition("goes on: ")[2]))
    again.read(until=r"epoch ([2-9]|\d\d)/300")
    assert "by an earlier start" in again.text, "the job that was finished is not trained again"
    assert again.interrupt() < SOON and again.code == 130


@pytest.mark.slow
def test_ctrl_c_ends_a_training_at_once_and_its_last_line_goes_on(terminal: Begin, quick: list[str]) -> None:
    shown = terminal(
        "train", "+experiment=mnist_scratch", *scratch(quick), "trainer.max_epochs=300", "hydra.run.dir=run"
    )
    shown.read(until=r"epoch ([3-9]|\d\d)/300")
    assert shown.interrupt() < SOON and shown.code == 130, shown.text
    found = re.fullmatch(r"stopped: (\d+) of 300 epochs are kept in run; this goes on: (.*)", shown.whole[-1])
    assert found and "Traceback" not in shown.text, shown.text
    resumed = terminal("train", *words(found[2]), width=120)
    resumed.read(until=r"epoch \d+/300 .*loss \d")
    assert "goes on from" in resumed.text
    assert int(re.findall(r"epoch (\d+)/300", "\n".join(resumed.moving))[0]) > int(found[1]) >= 2
    assert resumed.interrupt() < SOON and resumed.code == 130


@pytest.mark.slow
def test_ctrl_c_ends_decoding(terminal: Begin, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.jpg")
    for part, count in (("train", 300), ("test", 10)):
        for name in ("ant", "bee"):
            folder = tmp_path / "pictures" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number}.jpg").hardlink_to(tmp_path / "one.jpg")
    data = ["dataset=image_folder", f"dataset.root={tmp_path}/pictures", "dataset.image_size=28"]
    shown = terminal("train", "+experiment=mnist_scratch", *data, "dataset.cache=decoded")
    shown.read(until=r"decoding images .*[1-9]\d*/620 images  left")
    assert shown.interrupt() < SOON and shown.code == 130 and shown.most_moving == 1
    assert shown.whole[-1].startswith("stopped: no epoch was over yet; this goes on: "), shown.text


@pytest.mark.slow
def test_ctrl_c_ends_the_storing_of_answers_and_what_is_stored_is_kept(
    terminal: Begin, quick: list[str], tmp_path: Path
) -> None:
    many = ["dataset.views=200", "trainer.max_epochs=400", "replay.cache=stored", "hydra.run.dir=run"]
    shown = terminal("train", "+experiment=mnist_distill", *quick, *many)
    shown.read(until=r"storing answers .*[1-9]\d*/100,000 images  left")
    assert shown.interrupt() < SOON and shown.code == 130 and shown.most_moving == 1, shown.text
    again = terminal("train", *words(shown.whole[-1].partition("goes on: ")[2]))
    again.read(until=r"storing answers .*/\d+,\d+ images  left")
    left = int(re.findall(r"/([\d,]+) images", again.moving[-1])[0].replace(",", ""))
    assert left < 100_000, "it goes on where it stopped"
    assert again.interrupt() < SOON and again.code == 130


def words(command: str) -> list[str]:
    """What a command that was printed gives its door: without what starts Python there (`uv run python -m ...`)."""
    whole = shlex.split(command)
    return whole[whole.index("-m") + 2 :]


def scratch(quick: list[str]) -> list[str]:
    """The words that a student without a teacher takes, all but how long it trains."""
    return [text for text in quick if not text.startswith(("teacher", "trainer.max_epochs"))]
