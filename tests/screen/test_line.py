"""The line that moves: what it says, how it fits, and the time that is left."""

import logging
import os
import time
from pathlib import Path

import pytest

from kdistill.runs.elsewhere import JobsElsewhere
from kdistill.screen.line import Facts, clock, draw
from kdistill.screen.logs import ScreenHandler
from kdistill.screen.progress import CommandProgress
from kdistill.screen.stage import Stage

FACTS = Facts(12_800, 55_000, "images", "epoch 3/20", ("loss 0.1234", "val/auroc 0.9876"), short="mnist_mlp")


@pytest.mark.parametrize("width", [60, 70, 77, 90, 117, 200])
def test_the_line_fits_and_keeps_epoch_loss_metric_and_time(width: int) -> None:
    text = draw("student mnist_mlp", FACTS, "left 1:02:03", width).plain
    assert len(text) <= width and "\n" not in text
    words = ["mnist_ml", "epoch 3/20", "loss 0.1234", "val/auroc 0.9876", "left 1:02:03"]
    words += ["13k/55k"] if width == 77 else ["12,800/55,000"] if width > 80 else []
    assert width < 70 or all(word in text for word in words), text


def test_with_room_the_line_has_a_bar_of_the_epoch_and_the_unit() -> None:
    text = draw("student mnist_mlp", FACTS, "left 1:02", 120).plain
    assert text.startswith("student mnist_mlp  ━━━") and "12,800/55,000 images" in text
    bar = [sign for sign in text if sign in "━·"]
    assert bar.count("━") / len(bar) == pytest.approx(12_800 / 55_000, abs=0.5 / len(bar))


def test_a_long_name_is_cut_before_anything_else_is_lost() -> None:
    text = draw("teacher tf_efficientnet_lite2_in_a_long_name", FACTS, "left 1:02", 77).plain
    assert "epoch 3/20" in text and "13k/55k" in text and "val/auroc 0.9876" in text and "left 1:02" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (62, "1:02"), (3600, "1:00:00"), (7265, "2:01:05")]
)
def test_time_is_minutes_and_seconds(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_time_left_is_of_the_whole_command(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    command = CommandProgress()
    assert command.left() == "left ?"
    with command.part("student"):
        command.expect("training", lambda: 60.0)
        with command.part("teacher"), command.stage("teacher", 10, "images", shown=False) as stage:
            assert command.left() == "left >1:00", "the teacher's pace is not known yet"
            now = 110.0
            stage.advance_to(5)  # 2 seconds each
            assert command.left() == "left 1:10"
            now = 113.0
            assert command.left() == "left 1:07", "it runs down between two steps"
        command.over("training")
        assert command.left() == "left ?"


def test_the_jobs_of_a_sweep_that_have_not_begun_count_without_what_is_done_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    command = CommandProgress()
    command.jobs = 3
    command.begin_job()
    with command.part("first"):
        with command.part("its teacher"):
            now = 50.0
        now = 60.0
    command.end_job(whole=True)
    command.begin_job()
    with command.part("second"), command.stage("student", 10, "images", shown=False) as stage:
        now = 64.0
        stage.advance_to(4)
        assert command.left() == "left 0:16", "6 s of this one, and 10 of the next: a teacher is trained once"


def test_what_was_done_before_says_nothing_about_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    stage = Stage("student", 100, "images")
    stage.begin_at(80)
    now = 5.0
    stage.advance_to(90)
    assert stage.seconds_left() == pytest.approx(5.0)


def test_so_much_done_as_tells_the_pace_tells_it_at_once() -> None:
    stage = Stage("student", 1e6, "images")
    stage.advance_to(10)
    assert stage.seconds_left() is None, "an instant says little"
    stage.telling = 10
    assert stage.seconds_left() is not None


def test_what_data_say_of_themselves_is_written_once(capsys: pytest.CaptureFixture[str]) -> None:
    handler = ScreenHandler()
    for name, line in (("data.module", "data: 3"), ("data.module", "data: 3"), ("training", "go"), ("training", "go")):
        handler.emit(logging.makeLogRecord({"name": f"kdistill.{name}", "msg": line}))
    assert capsys.readouterr().out.splitlines() == ["data: 3", "go", "go"]


def test_jobs_in_other_processes_are_followed_by_their_logs(tmp_path: Path) -> None:
    jobs = JobsElsewhere(3, 2, "trainings")
    for name, last in (("a", "student net epoch 3/20: loss 0.1, val/auroc 0.9000, left 1:00"), ("b", "nothing yet")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.log").write_text(f"some line\n{last}\n")
        jobs.begin(tmp_path / name / "train.log")
    facts = jobs.look()
    assert (facts.label, facts.before, facts.after) == ("a, b", "epoch 3/20", ("val/auroc 0.9000",))
    assert jobs.remaining() == [None, None], "of b, and of the one that waits, nobody knows"
    log = tmp_path / "b" / "train.log"
    log.write_text("teacher big epoch 1/2: loss 2.0, val/auroc 0.5000, left >2:00\n")
    os.utime(log, (time.time() - 30, time.time() - 30))
    assert jobs.look().before == "epoch 3/20, teacher epoch 1/2"
    assert jobs.remaining()[0] == pytest.approx(90, abs=2), "two minutes, as of half a minute ago"
    jobs.end(log)
    assert jobs.look().done == 1 and jobs.look().label == "a"
