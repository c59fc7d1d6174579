"""Images, views and stored outputs on a GPU are those of a CPU."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kdistill.building.data import build_data
from kdistill.config.compose import compose_config
from kdistill.data.module import ArrayDataModule
from kdistill.data.philox import philox, uniform
from kdistill.replay.store import ReplayStore

pytestmark = pytest.mark.gpu

INDEX = torch.arange(5, 300, 3)


def digits_of(config: list[str], *more: str) -> ArrayDataModule:
    return build_data(compose_config(["+experiment=mnist_distill", *config, *more]))


def test_random_numbers_are_the_same_bits(device: str) -> None:
    counter = torch.randint(2**32, (1000, 4), generator=torch.Generator().manual_seed(0))
    assert torch.equal(philox(counter.to(device), 2**63 + 5).cpu(), philox(counter, 2**63 + 5))
    draws = uniform(7, INDEX.to(device), 3, 56)
    assert draws.device.type == device and torch.equal(draws.cpu(), uniform(7, INDEX, 3, 56))


@pytest.mark.parametrize(
    "augment",
    [
        [],
        ["dataset.augment.flip=true", "dataset.augment.quarter_turn=true"],
        ["dataset.augment.brightness=0.2", "dataset.augment.contrast=0.2", "dataset.augment.padding=reflection"],
        ["dataset.mixup=0.4"],
        ["dataset.cutmix=1.0", "dataset.augment.random_resized_crop=[0.3,1.0]", "dataset.augment.blur=0.5"],
    ],
)
def test_a_view_is_the_same_picture(digits: list[str], device: str, augment: list[str]) -> None:
    here, there = digits_of(digits, *augment), digits_of(digits, *augment)
    there.place(device)
    for view in (0, 5):
        one = here.prepare(here.arrays.train.read(INDEX), view=view)
        other = there.prepare(there.arrays.train.read(INDEX), view=view)
        assert other.image.device.type == device
        # Where a pixel is read differs by rounding; next to a bright edge that is a thousandth of the range.
        torch.testing.assert_close(other.image.cpu(), one.image, rtol=0, atol=2e-3)
        assert (other.image.cpu() - one.image).abs().mean() < 1e-5
        assert torch.equal(other.target.cpu(), one.target) and torch.equal(other.index.cpu(), one.index)
        if one.soft_target is not None:
            torch.testing.assert_close(other.soft_target.cpu(), one.soft_target)


def test_symmetries_move_the_pixels_themselves(digits: list[str], device: str) -> None:
    plain = [f"dataset.augment.{part}=0" for part in ("shift", "rotation", "scale", "shear", "elastic")]
    turned = [*plain, "dataset.augment.flip=true", "dataset.augment.quarter_turn=true"]
    here, there = digits_of(digits, *turned), digits_of(digits, *turned)
    there.place(device)
    one, other = (data.prepare(data.arrays.train.read(INDEX), view=1).image for data in (here, there))
    assert torch.equal(other.cpu(), one)


def test_data_that_fit_are_put_on_the_device_and_served_from_it(digits: list[str], device: str) -> None:
    here, there = digits_of(digits), digits_of(digits)
    there.place(device)
    for split in (there.arrays.train, there.arrays.val, there.arrays.test):
        assert split.image.device.type == split.target.device.type == device
    for loaders in zip(
        (here.train_dataloader(), here.val_dataloader(), here.test_dataloader()),
        (there.train_dataloader(), there.val_dataloader(), there.test_dataloader()),
        strict=True,
    ):
        for one, other in zip(*loaders, strict=True):
            pairs = zip(one, other, strict=True) if isinstance(one, list) else [(one, other)]
            for ours, theirs in pairs:
                assert theirs.image.device.type == device
                assert torch.equal(theirs.image.cpu(), ours.image) and torch.equal(theirs.target.cpu(), ours.target)


def test_partitions_that_begin_in_the_same_memory_stay_apart(digits: list[str], device: str) -> None:
    data = digits_of(digits)
    data._arrays = replace(data.arrays, val=data.arrays.train[:10])
    data.place(device)
    assert (len(data.arrays.train.image), len(data.arrays.val.image)) == (300, 10)


def test_data_that_would_be_a_tight_fit_stay_where_they_are(
    digits: list[str], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = digits_of(digits)
    size = sum(split.image.untyped_storage().nbytes() for split in (data.arrays.train, data.arrays.test))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (size, size))
    data.place(device)
    assert data.arrays.train.image.device.type == "cpu"


def test_a_stored_view_is_read_on_the_device_or_from_its_file(
    tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = torch.rand(2, 50, 4, generator=torch.Generator().manual_seed(0))
    store = ReplayStore(tmp_path, "stored", {}, shapes={"logits": (4,)}, samples=50, dtype="fp32")
    store.fill([0, 1], lambda view, index: {"logits": values[view, index].to(device)}, batch_size=20, what="logits")
    index = torch.tensor([3, 49, 3, 0])
    for view, free in ((0, 10**9), (1, 0)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_, free=free: (free, free))
        found = store.read(view, index.to(device))["logits"]
        assert found.device.type == device and torch.equal(found.cpu(), values[view, index])
    kept = [view["logits"].device.type for view in store._open.values()]
    assert kept == [device, "cpu"]
