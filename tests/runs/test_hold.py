"""One process at a time writes to a run's folder."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdistill.base.errors import UserError
from kdistill.base.storage import write_json
from kdistill.runs.hold import LOCK, NOTE, held, refuse_second

_TAKES_IT = """
import sys, time
from pathlib import Path
from kdistill.runs.hold import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(300)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the folder `run`."""
    process = subprocess.Popen([sys.executable, "-c", _TAKES_IT, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_is_refused_at_once_and_told_who_the_first_is_and_a_dead_ones_lock_is_taken(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    run = tmp_path / "run"
    told = f"{run} holds a run that is training now .process {holder.pid} on this computer."
    with pytest.raises(UserError, match=told), held(run):
        pass
    with pytest.raises(UserError, match=told):
        refuse_second(run)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert {path.name for path in run.iterdir()} == {LOCK, NOTE}, "of a process that could not clear up"
    refuse_second(run)
    with held(run):
        assert str(os.getpid()) in (run / NOTE).read_text()
    assert not any(run.iterdir())


def test_a_holder_on_another_computer_is_named_with_what_to_do_if_that_is_gone(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    write_json(tmp_path / "run" / NOTE, {"pid": 77, "host": f"not-{socket.gethostname()}"})
    with pytest.raises(UserError, match=r"process 77 on not-.*lease .*remove .*\.lock"):
        refuse_second(tmp_path / "run")
    (tmp_path / "run" / NOTE).write_text("{")
    with pytest.raises(UserError, match="another process"):
        refuse_second(tmp_path / "run")


def test_nothing_is_left_of_a_folder_that_got_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(tmp_path / "new" / "run"):
        raise ZeroDivisionError
    assert not (tmp_path / "new").exists()
    with held(tmp_path / "run"):
        (tmp_path / "run" / "config.yaml").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.yaml"]
