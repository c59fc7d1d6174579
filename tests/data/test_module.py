"""Order, views and batches of the data module that every data set shares."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kdistill.base.errors import UserError
from kdistill.data.arrays import Split
from kdistill.data.augment import Augment
from kdistill.data.loader import BatchLoader
from kdistill.data.mnist import MNIST


def small(root: Path, **options: object) -> MNIST:
    return MNIST(str(root), limit=600, batch_size=128, augment=Augment(shift=2.0, elastic=1.0), **options)


def test_a_batch_is_one_vectorised_read() -> None:
    split = Split(torch.arange(40, dtype=torch.uint8).view(10, 1, 2, 2), torch.arange(10))
    batch = split.read(torch.tensor([7, 2, 2]))
    assert batch.target.tolist() == batch.index.tolist() == [7, 2, 2]
    assert batch.image[:, 0, 0, 0].tolist() == [28, 8, 8]


def test_an_epoch_shows_every_image_once_in_an_order_of_seed_and_epoch(mnist_root: Path) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        loader = small(mnist_root, seed=seed).train_dataloader()
        loader.sampler.set_epoch(epoch)
        return [number for batches in loader for batch in batches for number in batch.index.tolist()]

    assert sorted(order(0, 0)) == list(range(600))
    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)


def test_views_repeat_after_k_epochs_and_are_fresh_without_k(mnist_root: Path) -> None:
    def image(views: int | None, epoch: int) -> torch.Tensor:
        data = small(mnist_root, views=views)
        return data.prepare(data.arrays.train.read(torch.tensor([1, 2, 3])), view=data.view(epoch)).image

    assert torch.equal(image(2, 0), image(2, 2))
    assert not torch.equal(image(2, 0), image(2, 1))
    assert torch.equal(image(2, 1), image(None, 1))
    assert not torch.equal(image(None, 0), image(None, 2))


def test_evaluation_sees_the_stored_pixels(mnist_root: Path) -> None:
    data = small(mnist_root)
    batch = next(iter(data.test_dataloader()))
    prepared = data.prepare(batch, view=None)
    assert torch.equal(prepared.image, batch.image)
    assert prepared.view == 0


def test_the_view_of_an_epoch_is_in_the_batch(mnist_root: Path) -> None:
    data = small(mnist_root, views=4)
    batch = next(iter(data.train_dataloader()))[0]
    assert data.view(7) == 3
    assert data.prepare(batch, view=3).view == 3


def test_a_loader_goes_on_where_another_stopped(mnist_root: Path) -> None:
    split = small(mnist_root).arrays.train
    first, second = (BatchLoader(split, 128) for _ in range(2))
    whole = [batch.index.tolist() for batch in first]
    for _, _batch in zip(range(2), first, strict=False):
        pass
    second.load_state_dict(first.state_dict())
    assert [batch.index.tolist() for batch in second] == whole[2:]
    assert [batch.index.tolist() for batch in second] == whole, "the epoch after that is a whole one"


def test_batches_of_small_images_come_together_and_those_of_large_ones_alone(mnist_root: Path) -> None:
    batches = next(iter(small(mnist_root).train_dataloader()))
    assert [len(batch.target) for batch in batches] == [128, 128, 128, 128, 88]
    assert [len(part) for part in BatchLoader(small(mnist_root).arrays.train, 128, together=2)] == [2, 2, 1]
    large = small(mnist_root)
    large.serving = replace(large.serving, batch_size=10_000)
    assert large.train_dataloader().together == 1


def test_images_stay_where_they_are_if_nothing_needs_them(mnist_root: Path) -> None:
    data = small(mnist_root)
    data.serves_images = False
    batch = next(iter(data.train_dataloader()))[0]
    assert len(batch.image) == 0
    assert len(batch.target) == len(batch.index) == 128
    assert data.prepare(batch, view=3).view == 3


@pytest.mark.slow
def test_the_key_of_views_changes_with_all_that_they_depend_on(mnist_root: Path) -> None:
    key = small(mnist_root).view_key()
    assert small(mnist_root).view_key() == key
    stronger = small(mnist_root)
    stronger.serving = replace(stronger.serving, augment=Augment(shift=3.0, elastic=1.0))
    fewer = small(mnist_root)
    fewer.serving = replace(fewer.serving, limit=500)
    assert all(other.view_key() != key for other in (stronger, fewer, small(mnist_root, seed=1)))
    plain, other_seed = small(mnist_root), small(mnist_root, seed=1)
    for one in (plain, other_seed):
        one.serving = replace(one.serving, augment=None)
    assert plain.view_key() == other_seed.view_key(), "without augmentation no seed plays a part"
    assert plain.view(5) == 0


def test_at_the_end_of_an_epoch_a_loader_starts_anew(mnist_root: Path) -> None:
    loader = small(mnist_root).val_dataloader()
    for _batch in loader:
        pass
    assert loader.state_dict() == {"served": 0}


@pytest.mark.parametrize("bad", [{"views": 0}, {"val_size": 0}, {"seed": -1}])
def test_a_number_out_of_range_is_refused(tmp_path: Path, bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        MNIST(str(tmp_path), **bad)


def test_two_views_are_those_of_this_epoch_and_the_next(mnist_root: Path) -> None:
    data = small(mnist_root, views=3)
    assert data.views_shown(4) == [0, 1, 2, 0]
    data.show_two_views()
    assert data.views_shown(4) == [0, 1, 2, 0, 1, 2, 0, 1]
    for options in ({"views": 1}, {"augment": None}):
        with pytest.raises(UserError, match="shows one: give an augmentation and"):
            MNIST(str(mnist_root), **{"augment": Augment(shift=2.0), **options}).show_two_views()  # type: ignore[arg-type]


def test_partitions_that_share_their_images_count_them_once_and_share_them_on_a_device_too(mnist_root: Path) -> None:
    arrays = small(mnist_root).arrays
    assert arrays.train.image.data_ptr() != arrays.test.image.data_ptr()
    shared = replace(arrays, test=replace(arrays.test, image=arrays.train.image))
    kept = {split.image.data_ptr(): split.image.nbytes for split in (shared.train, shared.val)}
    assert shared.nbytes == sum(kept.values())
    moved = shared.on("meta")
    assert moved.test.image is moved.train.image and moved.train.target.device.type == "meta"


def test_a_shift_that_is_too_much_for_small_images_is_warned_of(
    mnist_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for shift, warned in ((7.0, False), (12.0, True)):
        _ = MNIST(str(mnist_root), limit=600, augment=Augment(shift=shift)).arrays
        assert ("moves images of 28 pixels by up to 43% of their side" in caplog.text) == warned
