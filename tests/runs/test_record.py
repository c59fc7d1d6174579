"""`summary.json` and the object that it is."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from records import FIGURES, TEACHER, record

from kdistill.base.errors import UserError
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import Threshold


def test_a_record_is_read_back_as_it_was_written_also_a_figure_that_is_not_defined(tmp_path: Path) -> None:
    both = replace(TEACHER, label="mean of 2 teachers", members=(TEACHER, replace(TEACHER, label="small net")))
    written = record("distill", teacher=both, threshold=Threshold(0.3, FIGURES, FIGURES), versions={"torch": "2"})
    RunFolder(tmp_path).write_record(written)
    assert RunFolder(tmp_path).record() == written
    assert [one.label for one in written.teacher.each] == ["big net", "small net"]

    RunFolder(tmp_path).write_record(replace(written, val={"accuracy": 0.5, "auroc": math.nan}))
    assert json.loads((tmp_path / "summary.json").read_text())["val"] == {"accuracy": 0.5, "auroc": None}
    assert math.isnan(RunFolder(tmp_path).record().val["auroc"])


def test_what_a_run_has_nothing_to_say_of_is_not_in_its_file(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_record(record("student"))
    said = json.loads((tmp_path / "summary.json").read_text())
    assert not {"teacher", "peers", "threshold", "test_by_agreement"} & set(said) and "latency_ms" not in said["cost"]


def test_a_file_that_no_run_has_written_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"experiment": "toy", "seed": "none"}')
    with pytest.raises(UserError, match=r"summary\.json is not what a run of this kdistill has written .*role: Field"):
        RunFolder(tmp_path).record()
