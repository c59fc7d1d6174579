"""Encoded storage: the pictures of decoded storage, whatever they come from; packed once, named where broken."""

import io
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.data.augment import Augment
from kdistill.data.encoded import EncodedImages
from kdistill.data.held import HeldImage
from kdistill.data.huggingface import HuggingFace
from kdistill.data.image_folder import ImageFolder
from kdistill.data.image_table import ImageTable
from kdistill.data.keeping import Storage, open_images
from kdistill.data.mhist import MHIST
from kdistill.data.module import ArrayDataModule
from kdistill.data.problems import Problems
from kdistill.data.store import StoredImages
from kdistill.data.torchvision_set import TorchvisionSet

SIZE = 24


def smooth(number: int, width: int, height: int) -> Image.Image:
    """A coloured picture without hard edges."""
    few = np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC)


def save(image: Image.Image, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def turned(number: int) -> dict[str, object]:
    exif = Image.Exif()
    exif[274] = number
    return {"exif": exif}


def of_all_kinds(folder: Path) -> list[Path]:
    """Pictures of every kind that files have; none so large that it would be decoded at a smaller scale."""
    picture = smooth(0, 40, 30)
    deep = (np.asarray(picture)[..., 0].astype(np.uint16) + 1) * 200
    return [
        save(picture, folder / "a.png"),
        save(picture.convert("L"), folder / "b.png"),
        save(picture.convert("RGBA"), folder / "c.png"),
        save(picture.quantize(16), folder / "d.gif"),
        save(Image.fromarray(deep), folder / "e.png"),
        save(picture, folder / "f.jpg", quality=90),
        save(picture, folder / "g.jpg", **turned(6)),
        save(picture.convert("L"), folder / "h.jpeg"),
        save(picture.convert("CMYK"), folder / "i.jpg"),
        save(picture, folder / "j.jpg", progressive=True, subsampling=0),
        save(picture.resize((SIZE, SIZE)), folder / "k.webp", lossless=True),
        save(picture, folder / "l.tif"),
    ]


def opened(paths: list[Path], cache: Path, storage: Storage = "encoded", size: int = SIZE) -> StoredImages:
    problems = Problems()
    stored = open_images(paths, storage=storage, cache=cache, image_size=size, problems=problems)
    problems.raise_if_any("the images")
    assert stored is not None
    return stored


def pixels(stored: StoredImages, boxes: Tensor | None = None) -> Tensor:
    assert isinstance(stored.image, EncodedImages)
    return stored.image.read(torch.arange(len(stored.image)), boxes)


def test_every_kind_of_file_gives_the_very_pixels_of_decoded_storage(tmp_path: Path) -> None:
    paths = of_all_kinds(tmp_path / "files")
    decoded, encoded = opened(paths, tmp_path / "cache", "decoded"), opened(paths, tmp_path / "cache")
    assert torch.equal(pixels(encoded), decoded.image)
    assert (encoded.key, encoded.sources, encoded.value_range) == (decoded.key, decoded.sources, decoded.value_range)


def partitioned(root: Path) -> Path:
    for place, part in enumerate(("train", "test")):
        for number in range(16):
            save(smooth(100 * place + number, 30, 40), root / part / "ab"[number % 2] / f"{number:02}.jpg")
    return root


def in_folders(root: Path, **options: object) -> ArrayDataModule:
    return ImageFolder(str(partitioned(root / "folders")), cache=str(root / "cache"), image_size=SIZE, **options)


def in_a_table(root: Path, **options: object) -> ArrayDataModule:
    found = sorted(partitioned(root / "folders").rglob("*.jpg"))
    lines = [f"{path.relative_to(root)},{path.parent.name},{path.parent.parent.name}" for path in found]
    (root / "table.csv").write_text("\n".join(["path,label,split", *lines]))
    return ImageTable(str(root / "table.csv"), cache=str(root / "cache"), image_size=SIZE, **options)


def in_parquet(root: Path, **options: object) -> ArrayDataModule:
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    for part in ("train", "test"):
        files = sorted((partitioned(root / "folders") / part).rglob("*.jpg"))
        rows = {
            "image": [{"bytes": path.read_bytes(), "path": None} for path in files],
            "label": [path.parent.name for path in files],
        }
        (root / "rows").mkdir(exist_ok=True)
        datasets.Dataset.from_dict(rows, features=kinds).to_parquet(root / "rows" / f"{part}-00000-of-00001.parquet")
    return HuggingFace(str(root / "rows"), cache=str(root / "cache"), image_size=SIZE, **options)


def in_mhists_layout(root: Path, **options: object) -> ArrayDataModule:
    lines = ["Image Name,Majority Vote Label,Number of Annotators who Selected SSA (Out of 7),Partition"]
    for number in range(48):
        save(smooth(number, 30, 30), root / "polyps" / "images" / f"{number}.png")
        label, part = ("HP", "SSA")[number % 8 > 3], ("train", "test")[number > 31]
        lines.append(f"{number}.png,{label},{number % 8},{part}")
    (root / "polyps" / "annotations.csv").write_text("\n".join(lines))
    return MHIST(str(root / "polyps"), cache=str(root / "cache"), image_size=SIZE, **options)


def of_torchvision(root: Path, **options: object) -> ArrayDataModule:
    for number in range(20):
        save(smooth(number, 32, 32), root / "tv" / "eurosat" / "2750" / "ab"[number % 2] / f"{number}.jpg")
    return TorchvisionSet(
        str(root / "tv"), name="EuroSAT", cache=str(root / "cache"), verify=False, image_size=SIZE, **options
    )


@pytest.mark.parametrize("source", [in_folders, in_a_table, in_parquet, in_mhists_layout, of_torchvision])
def test_every_source_of_files_serves_the_same_from_both_storages(
    source: Callable[..., ArrayDataModule], tmp_path: Path
) -> None:
    decoded, encoded = source(tmp_path, storage="decoded").arrays, source(tmp_path, storage="encoded").arrays
    assert encoded.train.is_encoded and not decoded.train.is_encoded
    assert (encoded.mean, encoded.std, encoded.fingerprint) == (decoded.mean, decoded.std, decoded.fingerprint)
    for one, other in ((encoded.train, decoded.train), (encoded.val, decoded.val), (encoded.test, decoded.test)):
        index = torch.randperm(len(one))
        mine, theirs = one.read(index), other.read(index)
        assert torch.equal(mine.image, theirs.image) and torch.equal(mine.target, theirs.target)


def test_what_would_be_too_large_decoded_stays_encoded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        data = in_folders(tmp_path, max_decoded_gb=1e-5)
        assert data.arrays.val.is_encoded
    assert "more than dataset.max_decoded_gb=1e-05: they stay encoded" in caplog.text
    assert not in_folders(tmp_path).arrays.val.is_encoded


def test_broken_files_are_named_alike_and_leave_nothing_behind(tmp_path: Path) -> None:
    paths = of_all_kinds(tmp_path / "files")
    paths[3].write_bytes(b"no picture")
    paths[5].write_bytes(paths[5].read_bytes()[:-200])
    paths.append(tmp_path / "files" / "empty.png")
    paths[-1].touch()
    said = []
    kinds: tuple[Storage, ...] = ("decoded", "encoded")
    for storage in kinds:
        with pytest.raises(UserError) as caught:
            opened(paths, tmp_path / "cache", storage)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "d.gif: not an image (10 bytes)" in said[1] and "f.jpg: image file is truncated" in said[1]
    assert not [*(tmp_path / "cache").glob("*.pack")]


def test_files_are_packed_once_and_again_when_one_has_changed(tmp_path: Path) -> None:
    paths = [save(smooth(number % 3, 40, 30), tmp_path / f"{number}.jpg") for number in range(9)]
    first = opened(paths, tmp_path / "cache")
    (pack,) = (tmp_path / "cache").glob("*.pack")
    assert pack.stat().st_size == sum(path.stat().st_size for path in paths[:3]), "what is there thrice is kept once"
    written = pack.stat().st_mtime_ns
    assert opened(paths, tmp_path / "cache").key == first.key
    assert pack.stat().st_mtime_ns == written
    save(smooth(77, 40, 30), paths[4])
    changed = opened(paths, tmp_path / "cache")
    assert changed.key != first.key
    assert torch.equal(pixels(changed)[4], opened(paths, tmp_path / "cache", "decoded").image[4])


def test_a_row_of_a_table_that_says_when_it_changes_is_not_read_to_see_it(tmp_path: Path) -> None:
    read: list[int] = []
    content = io.BytesIO()
    smooth(0, 30, 30).save(content, "PNG")

    def fetch() -> bytes:
        read.append(1)
        return content.getvalue()

    rows = [HeldImage("row", fetch, stamp="1", size=len(content.getvalue()))]
    opened(rows, tmp_path / "cache")
    read.clear()
    assert pixels(opened(rows, tmp_path / "cache")).shape == (1, 3, SIZE, SIZE)
    assert not read


def test_damage_in_the_pack_is_seen_when_it_is_read(tmp_path: Path) -> None:
    paths = [save(smooth(number, 40, 30), tmp_path / f"{number}.jpg") for number in range(3)]
    opened(paths, tmp_path / "cache")
    (pack,) = (tmp_path / "cache").glob("*.pack")
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    with pytest.raises(UserError, match=rf"image 1 in {pack} is not as it was packed: .* remove it"):
        pixels(opened(paths, tmp_path / "cache"))
    pack.unlink()
    assert len(pixels(opened(paths, tmp_path / "cache"))) == 3


def test_a_large_jpeg_is_decoded_at_a_smaller_scale_and_looks_the_same(tmp_path: Path) -> None:
    paths = [save(smooth(number, 400, 300), tmp_path / f"{number}.jpg", quality=95) for number in range(4)]
    paths.append(save(smooth(9, 400, 300), tmp_path / "turned.jpg", **turned(8)))
    encoded, decoded = opened(paths, tmp_path / "cache"), opened(paths, tmp_path / "cache", "decoded")
    assert isinstance(encoded.image, EncodedImages) and encoded.image.is_scaled
    assert encoded.key != decoded.key, "pixels that differ have another fingerprint"
    error = (pixels(encoded).float() - decoded.image.float()).abs()
    assert 0 < float(error.mean()) < 1 and float(error.max()) < 8


def test_a_box_is_cut_from_the_file_itself(tmp_path: Path) -> None:
    """Plain JPEGs go another way than all else: both give what Pillow's own crop and resizing give."""
    picture = smooth(5, 200, 120)
    paths = [
        save(picture, tmp_path / "plain.jpg", quality=95),
        save(picture, tmp_path / "exact.png"),
        save(picture, tmp_path / "turned.jpg", quality=95, **turned(6)),
    ]
    box = torch.tensor([[0.25, 0.5, 0.5, 0.25]])
    found = pixels(opened(paths, tmp_path / "cache"), box.expand(3, 4))
    for path, one in zip(paths, found, strict=True):
        upright = ImageOps.exif_transpose(Image.open(path))
        left, top = (upright.width - 120) // 2, (upright.height - 120) // 2
        part = upright.crop((left + 30, top + 60, left + 90, top + 90))
        wanted = np.asarray(part.resize((SIZE, SIZE), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        assert np.abs(one.numpy().astype(int) - wanted).max() <= 2


def test_a_cropped_view_is_a_samples_own_however_its_batch_was_read(tmp_path: Path) -> None:
    crop = Augment(random_resized_crop=(0.3, 0.6), flip=True, policy="rand")
    data = in_folders(tmp_path, storage="encoded", augment=crop, cutmix=1.0, batch_size=5)
    whole = data.prepare(data.arrays.train.read(torch.arange(8)), view=3).image
    some = torch.tensor([6, 1])
    assert torch.equal(data.prepare(data.read_for(some, 3), view=3).image, whole[some])
    assert not torch.equal(data.prepare(data.read_for(some, 4), view=4).image, whole[some])
    loader = data.train_dataloader()
    loader.sampler.set_epoch(3)
    (first, *_), *_ = loader
    assert first.cropped == 3, "the loader reads what the epoch's view shows"
    inside = first.index < 8
    assert torch.equal(data.prepare(first, view=3).image[inside], whole[first.index[inside]])
    stored = in_folders(tmp_path, storage="decoded", augment=crop, cutmix=1.0)
    same = stored.prepare(stored.arrays.train.read(torch.arange(8)), view=3).image
    assert (same - whole).abs().mean() < 0.06 < (same.roll(1, 0) - whole).abs().mean()
    plain = in_folders(tmp_path, storage="encoded", augment=Augment(flip=True))
    assert data.arrays.fingerprint != plain.arrays.fingerprint, "crops of files are other pixels than of stored images"
