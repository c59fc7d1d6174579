"""A whole run with a loss of layers: refused where it does not fit, the same again, and nothing of it handed over."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import on_digits

from kdistill.base.errors import UserError
from kdistill.config.compose import compose_config
from kdistill.models.build import create_model
from kdistill.training.run import run


@pytest.fixture
def job(blocks: Path, tmp_path: Path) -> list[str]:
    """Hints from an untrained teacher: what it knows does not matter here."""
    torch.manual_seed(0)
    teacher = tmp_path / "teacher.pt"
    torch.save(create_model("mnist_cnn", num_classes=10, in_chans=1).state_dict(), teacher)
    return [
        *("+experiment=mnist_distill", "loss=hint", *on_digits(blocks), "dataset.limit=320"),
        *(f"replay.cache={tmp_path}", f"teacher.checkpoint={teacher}", "teacher.gate=off"),
    ]


def test_layers_that_do_not_fit_are_refused_before_training(job: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"loss hint compares feature maps, and student=mnist_mlp has none"):
        run(compose_config(job), tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_a_whole_run_distils_features_and_does_so_again(job: list[str], tmp_path: Path) -> None:
    config = compose_config([*job, "student.name=test_resnet", "trainer.max_epochs=2", "dataset.views=1"])
    first, again = (run(config.copy(), tmp_path / name) for name in ("one", "two"))
    assert first.fingerprint == again.fingerprint, "what the loss learns starts alike, and its answers are stored"
    assert any(tmp_path.glob("teacher-mnist_cnn-*/view-00000.1.bin")), "the hint's features are replayed"
    assert not any(name.startswith("loss") for name in load_file(tmp_path / "one" / "student.safetensors"))
