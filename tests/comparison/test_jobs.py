"""Jobs are real processes: they run together, fail alone, and stop with us."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kdistill.comparison.jobs import Job, jobs_at_a_time, run_jobs


def job(folder: Path, name: str, code: str) -> Job:
    return Job(name, (sys.executable, "-c", code), folder / name / "train.log", lambda: "fine")


def test_a_failing_job_is_shown_with_the_end_of_its_log_and_the_others_go_on(tmp_path: Path) -> None:
    lines: list[str] = []
    jobs = [job(tmp_path, "bad", "print('why'); raise SystemExit(3)"), job(tmp_path, "good", "print('done')")]
    failed = run_jobs(jobs, 1, lines.append)
    assert [one.name for one in failed] == ["bad"]
    assert [line for line in lines if line.startswith("started")] == [
        f"started {name}: {tmp_path / name / 'train.log'}" for name in ("bad", "good")
    ]
    bad, good = [line for line in lines if line.startswith("[")]
    assert bad.startswith("[1/2] bad") and "exit code 3" in bad and "    why" in bad
    assert good.startswith("[2/2] good") and good.endswith("fine")
    assert (tmp_path / "good" / "train.log").read_text() == "done\n"


def test_jobs_run_together_and_share_the_cores(tmp_path: Path) -> None:
    # Each waits for the other: one at a time would never end.
    code = (
        "import os, pathlib, time\npathlib.Path({own!r}).touch()\nwhile not os.path.exists({other!r}): time.sleep(.01)"
    )
    code += "\nprint(os.environ['OMP_NUM_THREADS'])"
    a, b = str(tmp_path / "a.here"), str(tmp_path / "b.here")
    jobs = [job(tmp_path, "a", code.format(own=a, other=b)), job(tmp_path, "b", code.format(own=b, other=a))]
    assert run_jobs(jobs, 2, lambda line: None) == []
    assert int((tmp_path / "a" / "train.log").read_text()) >= 1


def test_an_interruption_stops_what_runs(tmp_path: Path) -> None:
    def interrupted(line: str) -> None:
        if not line.startswith("started"):
            raise KeyboardInterrupt

    beat = tmp_path / "beat"
    endless = f"import pathlib, time\nwhile True: pathlib.Path({str(beat)!r}).touch(); time.sleep(.02)"
    jobs = [job(tmp_path, "endless", endless), job(tmp_path, "quick", "pass")]
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, 2, interrupted)
    beat.unlink(missing_ok=True)
    time.sleep(0.3)
    assert not beat.exists()


def test_auto_is_a_job_for_every_four_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(17)), raising=False)
    assert jobs_at_a_time("auto", "cpu") == 4 and jobs_at_a_time(7, "auto") == 7
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)
    assert jobs_at_a_time("auto", "auto") == 1


def test_a_job_that_ends_without_a_finished_run_has_failed_whatever_its_exit_code(tmp_path: Path) -> None:
    lines: list[str] = []
    one = replace(job(tmp_path, "one", "print('bye')"), result=lambda: None)
    assert run_jobs([one], 1, lines.append) == [one]
    assert "FAILED with exit code 0, and it has left no finished run" in lines[-1]
