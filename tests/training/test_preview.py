"""`--dry-run`: the plan of a run is printed, nothing is trained and no folder stays."""

import sys
from pathlib import Path

import pytest

from kdistill import compare, train


def door(monkeypatch: pytest.MonkeyPatch, folder: Path, blocks: Path, *words: str) -> int:
    """`kdistill.train` in this process, in a folder; gives the exit code."""
    data = [
        f"dataset.root={blocks}",
        "dataset.verify=false",
        "dataset.val_size=100",
        "dataset.limit=200",
        "device=cpu",
    ]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["train.py", *words, "+experiment=mnist_distill", *data])
    try:
        train.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.slow
def test_the_plan_says_who_learns_from_whom_at_what_cost_and_leaves_no_folder(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "--dry-run",
        "dataset.views=2",
        "trainer.max_epochs=4",
        "teacher.recipe_overrides=['trainer.max_epochs=3']",
    )
    assert door(monkeypatch, tmp_path, blocks, *words) == 0
    said = {line[2:12].strip(): line[12:] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert said["role"] == "distill, seed 0" and "200 training, 100 validation" in said["data"]
    assert said["student"].startswith("mnist_mlp: 623,290 parameters, 1.24e6 FLOPs an image")
    assert "mnist_cnn: trained first, 3 epochs by mnist_teacher" in said["teacher"]
    assert said["its cost"] == "1,011,466 parameters, 2.19e7 FLOPs an image"
    assert said["loss"] == "0.5 ce + 0.5 kd" and said["optimizer"].startswith("AdamW(lr=")
    assert "stored in outputs/replay (fp32): 2 views of 200 samples, 1.6e-05 GB" in said["replay"], "200 x 2 x 40 bytes"
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "outputs"])


def test_a_plan_is_of_one_run(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert door(monkeypatch, tmp_path, blocks, "-m", "--dry-run", "seed=0,1") == 2
    assert "prints the plan of one run: leave out -m" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["compare.py", "+experiment=mnist_distill", "trainer.fit=false"])
    with pytest.raises(SystemExit) as end:
        compare.main()
    assert end.value.code == 2 and "give it to kdistill.train" in capsys.readouterr().err


def test_what_a_run_would_refuse_its_plan_refuses_too(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert door(monkeypatch, tmp_path, blocks, "trainer.fit=false", "student.trainable=[fc9]") == 2
    assert "no parameter or module is called 'fc9'" in capsys.readouterr().err
