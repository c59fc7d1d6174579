"""docs/your_data.md: what the table of sources says to write composes with the experiment for one's own data."""

import re
import shlex
from pathlib import Path

import pytest

from kdistill.config.compose import compose_config
from kdistill.config.paths import conf_dir

DOCS = Path(__file__).parents[2] / "docs" / "your_data.md"
TABLE = DOCS.read_text().split("**Sources.**")[1].split("torchvision's are found")[0]
WRITTEN = re.findall(r"`(dataset=[^`]*)`", TABLE)
BESIDE = ["emnist", "svhn", "stl10", "flowers102", "food101", "pets"]  # named in one row by what `dataset=` may be
MINE = """
import pytorch_lightning as pl
from torch.utils.data import Dataset as Base


class Dataset(Base):
    def __init__(self, folder=None, split="train"):
        pass


class DataModule(pl.LightningDataModule):
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("words", [*WRITTEN, *(f"dataset={name}" for name in BESIDE)])
def test_each_source_of_the_table_is_taken_as_it_is_written(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.py").write_text(MINE)
    for name in ("labels.csv", "labels.npy", "images.npy", "pneumoniamnist.npz"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    given = shlex.split(re.sub(r"<[^>]*>", str(tmp_path), words))
    config = compose_config(["+experiment=distill", *given])
    target = str(config.dataset["_target_"])
    assert target.startswith("kdistill.data.") or target in words


@pytest.mark.slow
def test_the_experiment_for_ones_own_data_takes_every_loss_of_a_teacher(tmp_path: Path) -> None:
    for path in sorted(Path(conf_dir(), "loss").glob("*.yaml")):
        if "\nalpha:" in path.read_text():
            words = ["+experiment=distill", f"dataset.root={tmp_path}", f"loss={path.stem}"]
            assert compose_config(words).loss.alpha is not None


def test_the_table_has_a_row_for_each_kind_of_source() -> None:
    assert len(WRITTEN) >= 10 and all(f"`{name}`" in TABLE for name in BESIDE)
