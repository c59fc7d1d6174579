"""A loss that lies outside the repository, as docs/adding.md shows it, trains and is checked like the others."""

import re
from pathlib import Path

import pytest
import torch
from tiny_runs import tiny

from kdistill.config.compose import check_overrides
from kdistill.models.build import create_model
from kdistill.training.run import run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding.md"
MINE = ["+experiment=mnist_distill", "loss=mine"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with docs/adding.md's module and yaml."""
    text = PAGE.read_text()
    section = text[text.index("## A loss") : text.index("## A metric")]
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", section, flags=re.DOTALL))
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "my_losses.py").write_text(blocks["python"])
    (tmp_path / "conf" / "loss" / "mine.yaml").write_text(blocks["yaml"])
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("loss.powr=2", "unknown key 'loss.powr'; did you mean 'loss.power'?"),
        ("loss.power=-1", "loss.power: must be greater than 0, not -1"),
        ("loss.alpha=2", "loss.alpha: must be less than or equal to 1, not 2"),
    ],
)
def test_its_options_are_checked_before_anything_runs(folder: Path, override: str, said: str) -> None:
    assert check_overrides([*MINE, override], search_path=[str(folder / "conf")])[1] == [said]


def test_a_whole_run_trains_with_it(folder: Path, blocks: Path) -> None:
    torch.manual_seed(0)
    torch.save(create_model("mnist_small_cnn", num_classes=10, in_chans=1).state_dict(), folder / "teacher.pt")
    given = [
        "loss.power=2", "loss.standardize=true", *tiny(blocks, folder), "trainer.max_epochs=3",
        "teacher.name=mnist_small_cnn", f"teacher.checkpoint={folder / 'teacher.pt'}", "teacher.gate=off",
    ]  # fmt: skip
    config, problems = check_overrides([*MINE, *given], search_path=[str(folder / "conf")])
    assert problems == [] and config is not None
    found = run(config, folder / "run")
    assert found.role == "distill"
    header, *rows = (line.split(",") for line in (folder / "run" / "metrics.csv").read_text().splitlines())
    values = [float(row[header.index("train/l1")]) for row in rows if row[header.index("train/l1")]]
    assert len(values) == 3 and values[-1] < values[0], values
