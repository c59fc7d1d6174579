"""`summary.json` and the object that it is."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
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


def test_a_latency_without_its_spread_is_refused_by_the_files_name(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_record(record("student"))
    said = json.loads((tmp_path / "summary.json").read_text())
    said["cost"]["latency_ms"] = 3.0
    (tmp_path / "summary.json").write_text(json.dumps(said))
    (tmp_path / "sums.json").unlink()
    with pytest.raises(UserError, match=r"summary\.json is not what .*a latency has a median, an interquartile range"):
        RunFolder(tmp_path).record()


def test_what_a_run_has_nothing_to_say_of_is_not_in_its_file(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_record(record("student"))
    said = json.loads((tmp_path / "summary.json").read_text())
    assert not {"teacher", "peers", "threshold", "test_by_agreement"} & set(said) and "latency_ms" not in said["cost"]


def test_a_file_that_no_run_has_written_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"experiment": "toy", "seed": "none"}')
    with pytest.raises(UserError, match=r"summary\.json is not what a run of this kdistill has written .*role: Field"):
        RunFolder(tmp_path).record()


@pytest.mark.parametrize("name", ["summary.json", "config.yaml", "metrics.csv"])
def test_a_text_with_another_digit_is_named_until_somebody_says_that_it_is_meant(name: str, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, OmegaConf.create({"name": "toy", "seed": 3}))
    (tmp_path / "metrics.csv").write_text("epoch,step,val/accuracy\n0,3,0.3\n")
    folder.write_record(record("student", seed=3))
    before = folder.record(), folder.config(), folder.curves()
    text = (tmp_path / name).read_text()
    (tmp_path / name).write_text("4".join(text.rpartition("3")[::2]))
    with pytest.raises(UserError, match=rf"{name} is not what its run has written .*remove .*sums\.json"):
        (folder.record(), folder.config(), folder.curves())
    (tmp_path / "sums.json").unlink()
    assert (folder.record(), folder.config(), folder.curves()) != before
