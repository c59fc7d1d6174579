"""Pictures without labels: how they join a batch, what they leave as it is, and which folders are refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdistill.base.classes import NO_LABEL
from kdistill.base.errors import UserError
from kdistill.base.storage import digest
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.augment import Augment
from kdistill.data.image_table import ImageTable
from kdistill.data.module import ArrayDataModule
from kdistill.data.pool import Pool
from kdistill.data.sampling import ShuffledSampler, ToppedUpSampler
from kdistill.data.unlabelled import grey

LABELLED, MORE = 10, 7


class Squares(ArrayDataModule):
    """Grey pictures of one value each: of sample n, n."""

    cache: Path
    root: str | None = None
    shape: tuple[int, int, int] = (1, 4, 4)

    def load(self) -> ImageArrays:
        image = torch.arange(3 * LABELLED, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, *self.shape).contiguous()
        everything = Split(image, torch.arange(3 * LABELLED) % 2)
        parts = (everything[start : start + LABELLED] for start in range(0, 3 * LABELLED, LABELLED))
        return ImageArrays(*parts, ("even", "odd"), (0.5,), (0.5,), digest({"squares": 1}))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Of values from 100 on, some of them below a folder more."""
    folder = tmp_path / "without"
    (folder / "more").mkdir(parents=True)
    for number in range(MORE):
        where = folder / "more" if number > 4 else folder
        Image.fromarray(np.full((4, 4), 100 + number, dtype=np.uint8)).save(where / f"{number}.png")
    return folder


def squares(pictures: Path, **serving: object) -> Squares:
    data = Squares(**{"batch_size": 4, "unlabeled": str(pictures), **serving})
    data.cache = pictures.parent / "cache"
    return data


def refusal(data: Squares) -> str:
    with pytest.raises(UserError) as caught:
        _ = data.arrays
    return str(caught.value)


@pytest.mark.parametrize(("batch_size", "share"), [(4, 0.5), (5, 0.3), (2, 0.9), (8, 0.05)])
def test_each_batch_has_its_share_and_each_picture_is_shown_as_often(batch_size: int, share: float) -> None:
    def epoch(number: int) -> list[list[int]]:
        sampler = ToppedUpSampler(ShuffledSampler(LABELLED, seed=3), MORE, batch_size=batch_size, share=share)
        sampler.set_epoch(number)
        drawn = sampler.numbers()
        assert len(drawn) == len(sampler) and torch.equal(drawn, sampler.numbers())
        return [part.tolist() for part in drawn.split(batch_size)]

    filling = min(max(round(batch_size * share), 1), batch_size - 1)
    shown = torch.zeros(MORE)
    for number in range(5):
        batches = epoch(number)
        known = sorted(sample for batch in batches for sample in batch if sample < LABELLED)
        assert known == list(range(LABELLED))
        others = [[sample - LABELLED for sample in batch if sample >= LABELLED] for batch in batches]
        assert {len(own) for own, batch in zip(others, batches, strict=True) if len(batch) == batch_size} <= {filling}
        shown += torch.bincount(torch.tensor([sample for own in others for sample in own]), minlength=MORE)
        assert shown.max() - shown.min() <= 1
    assert epoch(0) != epoch(1)


def test_they_are_in_batches_and_in_nothing_that_counts(pictures: Path) -> None:
    data, plain = squares(pictures), squares(pictures, unlabeled=None)
    assert data.arrays.class_counts == plain.arrays.class_counts == (5, 5)
    assert data.arrays.fingerprint == plain.arrays.fingerprint and data.view_key() == plain.view_key()
    assert data.pool_key() != plain.pool_key() and plain.pool_key() == plain.view_key()
    assert len(data.arrays.train) == LABELLED and len(data.pool) == LABELLED + MORE
    batches = [batch for some in data.train_dataloader() for batch in some]
    assert sum(batch.labelled for batch in batches) == LABELLED
    for batch in batches:
        values = batch.image[:, 0, 0, 0]
        assert values[: batch.labelled].tolist() == batch.index[: batch.labelled].tolist()
        assert (values[batch.labelled :] == 100 + batch.index[batch.labelled :] - LABELLED).all()
        assert (batch.target[batch.labelled :] == NO_LABEL).all() and (batch.target[: batch.labelled] >= 0).all()
        assert batch.labelled > 0 and len(batch.target) > batch.labelled
    assert all(batch.labelled is None for batch in data.val_dataloader())


def test_a_pool_reads_what_it_knows_of_labelled_samples_and_fills_in_the_rest() -> None:
    image = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1)
    known = {"votes": torch.tensor([3, 4]), "soft_target": torch.eye(2), "sample_weight": torch.tensor([0.5, 1.5])}
    pool = Pool(Split(image[:2], torch.tensor([0, 1]), None, **known), Split(image[2:], torch.full((3,), NO_LABEL)))
    batch = pool.read(torch.tensor([4, 1, 2, 0]))
    assert batch.labelled == 2 and batch.index.tolist() == [1, 0, 4, 2] == batch.image.flatten().tolist()
    assert batch.target.tolist() == [1, 0, -1, -1]
    assert batch.votes is not None and batch.votes.tolist() == [4, 3, -1, -1]
    assert batch.soft_target is not None and batch.soft_target.tolist() == [[0, 1], [1, 0], [0, 0], [0, 0]]
    assert batch.sample_weight is not None and batch.sample_weight.tolist() == [1.5, 0.5, 1, 1]
    for few, count in ((torch.tensor([3, 2]), 0), (torch.tensor([0]), 1)):
        batch = pool.read(few, images=False)
        assert batch.labelled == count and len(batch.image) == 0 and batch.index.tolist() == few.tolist()


def test_mixup_mixes_each_kind_with_its_own(pictures: Path) -> None:
    data = squares(pictures, mixup=1.0, augment=Augment(flip=True))
    batch = data.pool.read(torch.arange(LABELLED + MORE))
    mixed = data.prepare(batch, view=3)
    values = mixed.image[:, 0, 0, 0] * 255
    assert (values[:LABELLED] < LABELLED).all() and (values[LABELLED:] > 99).all()
    assert not torch.equal(values.round().byte(), batch.image[:, 0, 0, 0])
    assert mixed.soft_target is not None and mixed.labelled == LABELLED
    assert torch.allclose(mixed.soft_target[:LABELLED].sum(1), torch.ones(LABELLED))
    assert not mixed.soft_target[LABELLED:].any()


def test_grey_pictures_stay_as_they_are_to_the_bit() -> None:
    level = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1)
    assert torch.equal(grey(level.expand(-1, 3, 2, 2)), level.expand(-1, 1, 2, 2))


def test_folders_that_cannot_be_taken_are_refused_with_the_reason(pictures: Path, tmp_path: Path) -> None:
    assert "is no folder" in refusal(squares(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "no images" in refusal(squares(tmp_path / "empty"))
    assert "dataset.batch_size=2 or more" in refusal(squares(pictures, batch_size=1))
    oblong = squares(pictures)
    oblong.shape = (1, 4, 6)
    assert "1 x 4 x 6" in refusal(oblong)
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "broken.png" in refusal(squares(pictures))
    for folder in ("data", "data/test/more", "."):
        (tmp_path / "data" / "test" / "more").mkdir(parents=True, exist_ok=True)
        own = squares(tmp_path / folder)
        own.root = str(tmp_path / "data")
        assert "that figures are taken on" in refusal(own)


def test_of_a_folder_that_holds_labelled_images_too_those_alone_are_taken_that_have_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A table labels some of a folder; the others, and none of test's, are without labels."""
    lines = ["path,label,split"]
    for number in range(20):
        Image.fromarray(np.full((4, 4, 3), number, dtype=np.uint8)).save(tmp_path / f"{number}.png")
        if number < 14:
            lines.append(f"{number}.png,{'ab'[number % 2]},{('train', 'val', 'test')[number % 7 // 3]}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    options = {"cache": str(tmp_path / "cache"), "image_size": 4, "batch_size": 4}
    for folder in (tmp_path, tmp_path / "link"):
        arrays = ImageTable(str(tmp_path / "labels.csv"), unlabeled=str(folder), **options).arrays
        assert arrays.unlabelled is not None
        shown = arrays.unlabelled.read(torch.arange(len(arrays.unlabelled))).image[:, 0, 0, 0]
        assert sorted(shown.tolist()) == list(range(14, 20))
    copies = tmp_path / "elsewhere"
    copies.mkdir()
    for number, name in ((0, "train"), (3, "val"), (6, "test"), (15, "new")):  # all but the last are labelled
        shutil.copy(tmp_path / f"{number}.png", copies / f"{name}.png")
    arrays = ImageTable(str(tmp_path / "labels.csv"), unlabeled=str(copies), **options).arrays
    assert arrays.unlabelled is not None
    shown = arrays.unlabelled.read(torch.arange(len(arrays.unlabelled))).image[:, 0, 0, 0]
    assert sorted(shown.tolist()) == [0, 15]
    assert "2 images in" in caplog.text and "byte for byte those of validation or test" in caplog.text
    for number in range(14, 20):
        (tmp_path / f"{number}.png").unlink()
    shutil.rmtree(copies)
    with pytest.raises(UserError, match="but the data set has them already"):
        _ = ImageTable(str(tmp_path / "labels.csv"), unlabeled=str(tmp_path), **options).arrays
