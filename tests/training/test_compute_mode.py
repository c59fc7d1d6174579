"""The probe chooses what is faster, remembers it, and leaves short trainings and fixed choices alone."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from tiny_runs import on_digits
from torch import Tensor, nn

from kdistill.base.checked import read_note, write_note
from kdistill.building.data import build_data
from kdistill.building.device import choose_precision
from kdistill.building.networks import build_network
from kdistill.config.compose import compose_config
from kdistill.models.weights import fingerprint
from kdistill.training.compute_mode import ComputeMode, tune, tuned

PLAIN, LAST = ComputeMode("32-true", False), ComputeMode("32-true", True)


class SlowIn(nn.Module):
    """Takes its time for images in one memory format."""

    def __init__(self, slow: torch.memory_format) -> None:
        super().__init__()
        self.slow = slow
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, image: Tensor) -> Tensor:
        if image.is_contiguous(memory_format=self.slow):
            time.sleep(0.1)
        return self.layer(image).mean((2, 3))


def choose(
    network: nn.Module, cache: Path, *, default: ComputeMode = PLAIN, steps: int = 1000, others: object = None
) -> ComputeMode:
    return tuned(
        network,
        default,
        [PLAIN, LAST] if others is None else others,  # type: ignore[arg-type]
        batch_shape=(2, 3, 8, 8),
        num_classes=4,
        steps=steps,
        device="cpu",
        cache=cache,
    )


@pytest.mark.parametrize("default", [PLAIN, pytest.param(LAST, marks=pytest.mark.slow)])
def test_the_faster_way_is_taken(tmp_path: Path, default: ComputeMode) -> None:
    assert choose(SlowIn(torch.contiguous_format), tmp_path / "one", default=default) == LAST
    assert choose(SlowIn(torch.channels_last), tmp_path / "other", default=default) == PLAIN


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    network = SlowIn(torch.contiguous_format)
    assert choose(network, tmp_path) == LAST
    (file,) = tmp_path.glob("*.json")
    facts = read_note(file)
    assert facts is not None
    facts["chosen"]["channels_last"] = False
    write_note(file, facts)
    assert choose(network, tmp_path) == PLAIN, "as the file says"
    file.write_text(file.read_text().replace("false", "true "))
    assert choose(network, tmp_path) == LAST, "a damaged file says nothing"


def test_runs_that_start_together_train_in_one_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    network = SlowIn(torch.contiguous_format)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: choose(network, tmp_path), range(2))) == [LAST, LAST]
    assert sum("a step:" in line for line in caplog.messages) == 1, caplog.messages


def test_a_short_training_keeps_the_default(tmp_path: Path) -> None:
    assert choose(SlowIn(torch.contiguous_format), tmp_path, steps=50) == PLAIN
    assert not list(tmp_path.iterdir())


def test_the_probe_leaves_the_network_and_the_random_state_alone(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(), nn.Linear(144, 4))
    before, state = fingerprint(network), torch.get_rng_state()
    choose(network, tmp_path)
    assert fingerprint(network) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_compilation_is_not_tried_where_it_cannot_pay(tmp_path: Path) -> None:
    compiled = ComputeMode("32-true", False, "default")
    assert choose(SlowIn(torch.channels_last), tmp_path, others=[compiled]) == PLAIN
    assert "compiled" not in next(tmp_path.glob("*.json")).read_text()


def test_what_the_config_fixes_is_kept(blocks: Path, tmp_path: Path) -> None:
    """A batch of 8 is fast: even a busy machine does not come to try compiled modes."""
    job = ["+experiment=mnist_teacher", *on_digits(blocks), f"trainer.tune_cache={tmp_path / 'tuned'}"]
    long = ["dataset.batch_size=8", "trainer.max_epochs=3"]
    fixed = compose_config([*job, "trainer.precision=32-true", "trainer.channels_last=off", *long])
    data = build_data(fixed)
    network = build_network(fixed.teacher, "teacher", data)
    off = compose_config([*job, "trainer.tune=off"])
    assert tune(off, network, data, "cpu") == ComputeMode(choose_precision("auto", "cpu"), True)
    assert not (tmp_path / "tuned").exists()
    assert tune(fixed, network, data, "cpu") == PLAIN
