"""Which epoch is kept: the best monitored figure, and of equals the one with the lowest NLL."""

import io
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.training.callbacks.checkpoints import AtomicCheckpointIO, BestCheckpoint, logged_until


class Scripted(pl.LightningModule):
    """Learns nothing and logs, epoch by epoch, the figures that a test says; its weight is the epoch."""

    def __init__(self, accuracy: list[float], nll: list[float]) -> None:
        super().__init__()
        self.accuracy, self.nll = accuracy, nll
        self.epoch = nn.Parameter(torch.zeros(1))
        self.automatic_optimization = False

    def training_step(self, batch: Any, index: int) -> None:
        optimizer: Any = self.optimizers()
        optimizer.step()
        with torch.no_grad():
            self.epoch.fill_(self.current_epoch)

    def validation_step(self, batch: Any, index: int) -> None:
        now = self.current_epoch
        self.log_dict({"val/accuracy": self.accuracy[now], "val/nll": self.nll[now]})

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def trained(
    folder: Path, module: Scripted, *, epochs: int, resume: Path | None = None, **options: Any
) -> BestCheckpoint:
    checkpoint = BestCheckpoint(dirpath=folder, save_last=True, enable_version_counter=False, **options)
    data = [torch.zeros(1)]
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=epochs, callbacks=[checkpoint], logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=folder, plugins=[AtomicCheckpointIO()],
    )  # fmt: skip
    trainer.fit(module, data, data, ckpt_path=resume, weights_only=True)
    return checkpoint


def kept(checkpoint: BestCheckpoint) -> int:
    weights: dict[str, Tensor] = torch.load(checkpoint.best_model_path, weights_only=True)["state_dict"]
    return int(weights["epoch"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("accuracy", "nll", "options", "best"),
    [
        ([0.5, 0.9, 0.9, 0.9], [2.0, 0.6, 0.1, 0.2], {}, 2),  # of equals the lowest NLL
        ([0.9, 0.9, 0.8], [0.1, 0.6, 0.0], {}, 0),  # the first, if that has it
        ([0.9, 0.9], [0.1, 0.1], {}, 0),  # all equal: the first
        ([0.5, 0.6, 0.7], [0.1, 0.2, 0.3], {}, 2),  # accuracy comes before NLL
        ([0.9, 0.9, 0.9], [float("nan"), 0.5, 0.7], {}, 1),
        ([0.9, 0.8, 0.9, 0.9], [0.6, 0.1, 0.2, 0.4], {"save_top_k": 2, "filename": "{epoch}"}, 2),
    ],
)
def test_the_best_epoch_is_kept(
    tmp_path: Path, accuracy: list[float], nll: list[float], options: dict[str, Any], best: int
) -> None:
    options = {"filename": "best", **options}
    found = trained(tmp_path, Scripted(accuracy, nll), epochs=len(nll), monitor="val/accuracy", mode="max", **options)
    assert kept(found) == best


@pytest.mark.filterwarnings("ignore")
def test_a_resumed_run_knows_the_nll_of_the_epoch_that_it_has_kept(tmp_path: Path) -> None:
    options: dict[str, Any] = {"monitor": "val/accuracy", "mode": "max", "filename": "best"}
    trained(tmp_path, Scripted([0.9], [0.3]), epochs=1, **options)
    module = Scripted([0.9, 0.9, 0.9], [0.3, 0.5, 0.2])
    assert kept(trained(tmp_path, module, epochs=3, resume=tmp_path / "last.ckpt", **options)) == 2
    again = trained(tmp_path / "b", Scripted([0.9], [0.3]), epochs=1, **options)
    module = Scripted([0.9, 0.9], [0.3, 0.5])
    again = trained(tmp_path / "b", module, epochs=2, resume=tmp_path / "b" / "last.ckpt", **options)
    assert kept(again) == 0, "it was better before the run was killed"


BY_ACCURACY: dict[str, Any] = {"monitor": "val/accuracy", "mode": "max", "filename": "best"}


@pytest.mark.filterwarnings("error:.*dirpath has changed")
@pytest.mark.parametrize("moved", [True, False])
def test_a_folder_that_was_moved_or_copied_goes_on_with_its_own_best_checkpoint(tmp_path: Path, moved: bool) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    trained(first, Scripted([0.9], [0.3]), epochs=1, **BY_ACCURACY)
    if moved:
        first.rename(second)
    else:
        shutil.copytree(first, second)
        (first / "best.ckpt").write_bytes(b"of someone else by now")
    worse = Scripted([0.9, 0.8], [0.3, 0.1])
    found = trained(second, worse, epochs=2, resume=second / "last.ckpt", **BY_ACCURACY)
    assert Path(found.best_model_path) == (second / "best.ckpt").resolve()
    assert kept(found) == 0, "the first epoch was better, and the copy knows"
    assert list(map(Path, found.best_k_models)) == [(second / "best.ckpt").resolve()]


@pytest.mark.filterwarnings("ignore")
def test_a_best_checkpoint_that_is_gone_is_named_when_a_run_goes_on(tmp_path: Path) -> None:
    trained(tmp_path, Scripted([0.9], [0.3]), epochs=1, **BY_ACCURACY)
    (tmp_path / "best.ckpt").unlink()
    with pytest.raises(UserError, match=r"best\.ckpt is gone"):
        trained(tmp_path, Scripted([0.9, 0.9], [0.3, 0.3]), epochs=2, resume=tmp_path / "last.ckpt", **BY_ACCURACY)


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_checkpoint_is_named_with_what_to_do(tmp_path: Path) -> None:
    trained(tmp_path, Scripted([0.9], [0.3]), epochs=1, **BY_ACCURACY)
    file = tmp_path / "last.ckpt"
    whole = file.read_bytes()
    assert logged_until(file) == 0
    cuts = [whole[: len(whole) * part // 10] for part in range(10)]
    for damaged in (*cuts, whole[:-1], b"garbage" * 99, b"\x80\x02K\x01."):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=f"{re.escape(str(file))} is .* remove .* and start again"):
            logged_until(file)
    content = torch.load(io.BytesIO(whole), weights_only=True)
    needed = ("epoch", "state_dict", "loops", "callbacks", "optimizer_states", "lr_schedulers")
    for wrong in ({}, [1], 5, *({**content, name: None} for name in needed)):
        torch.save(wrong, file)
        with pytest.raises(UserError, match=re.escape(str(file))):
            logged_until(file)
