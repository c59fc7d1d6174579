"""Files that claim or unpack to more than there is room for: refused by their headers, in words, before anything is
allocated."""

import gzip
import io
import os
import resource
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdistill.base.bounded import read_arrays, read_bounded, read_json
from kdistill.base.errors import UserError
from kdistill.base.space import check_disk, free_memory
from kdistill.base.types import ImageSide, mistake
from kdistill.config.compose import check_overrides
from kdistill.data.decoding import UnreadableImage, decode
from kdistill.data.idx import read_idx
from kdistill.data.mnist_files import TEST_FILES, read_partition
from kdistill.data.room import check_array, check_decoding

SIDE = 13_000
LITTLE = 64 * 2**20  # bytes: what a refusal may take


@pytest.fixture
def takes_little() -> Iterator[None]:
    """A test in which the process does not grow."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < LITTLE, f"{grown / 1e6:.0f} MB were taken"


@pytest.fixture
def half_a_gigabyte() -> Iterator[None]:
    """A test that may take so much more memory, as under `ulimit -v`."""
    own = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**29, own[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, own)


def written(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 5), "red").save(file, kind, **options)
    return file.getvalue()


def replaced(content: bytes, old: bytes, new: bytes) -> bytes:
    assert content.count(old) >= 1
    return content.replace(old, new, 1)


def png(side: int) -> bytes:
    """A PNG that unpacks to `side` rows of zeros, with right checksums."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * side)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", data), (b"IEND", b""))
    parts = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_header(side: int) -> bytes:
    content = written("PNG")
    new = b"IHDR" + struct.pack(">II", side, side) + content[24:29]
    return replaced(content, content[12:33], new + struct.pack(">I", zlib.crc32(new)))


HEADERS: dict[str, Callable[[int], bytes]] = {
    "PNG": png_header,
    "JPEG": lambda side: replaced(
        written("JPEG"), b"\x08" + struct.pack(">HH", 5, 3), b"\x08" + struct.pack(">HH", side, side)
    ),
    "GIF": lambda side: replaced(
        replaced(written("GIF"), struct.pack("<HH", 3, 5), struct.pack("<HH", side, side)),
        struct.pack("<HH", 3, 5),
        struct.pack("<HH", side, side),
    ),
    "BMP": lambda side: replaced(written("BMP"), struct.pack("<ii", 3, 5), struct.pack("<ii", side, side)),
    "PPM": lambda side: replaced(written("PPM"), b"3 5", f"{side} {side}".encode()),
    "TIFF": lambda side: replaced(
        replaced(
            written("TIFF"), struct.pack("<HHLL", 256, 4, 1, 3), struct.pack("<HHLL", 256, 4, 1, side)
        ),
        struct.pack("<HHLL", 257, 4, 1, 5),
        struct.pack("<HHLL", 257, 4, 1, side),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("side", [SIDE, 60_000])
def test_an_image_of_too_many_pixels_is_refused_by_its_header(
    kind: str, side: int, tmp_path: Path, takes_little: None
) -> None:
    path = tmp_path / f"large.{kind.lower()}"
    path.write_bytes(HEADERS[kind](side))
    with pytest.raises(
        UnreadableImage, match=r"million pixels; dataset\.max_pixels allows 100 million pixels"
    ) as caught:
        decode(path, 8)
    assert "set dataset.max_pixels" in caught.value.kind


@pytest.mark.slow
def test_a_picture_that_unpacks_to_half_a_gigabyte_is_refused_or_decoded_alone_as_the_limit_says(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(SIDE))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(UnreadableImage, match="169 million pixels"):
        decode(path, 8)
    pixels, _ = decode(path, 8, max_pixels=200_000_000)
    assert pixels.shape == (3, 8, 8) and not pixels.any()


def test_an_image_for_which_there_is_no_memory_is_refused_by_its_header(tmp_path: Path, half_a_gigabyte: None) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png_header(9_000))
    with pytest.raises(UnreadableImage, match=r"81\.0 million pixels take 1\.3 GB of memory, and .* is free"):
        decode(path, 8)


def test_a_file_that_another_program_would_draw_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "drawn.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touched) (w) file\n")
    with pytest.raises(UnreadableImage, match="not an image"):
        decode(path, 8)


def idx(shape: tuple[int, ...], content: bytes, *, packed: bool) -> bytes:
    whole = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + content
    return gzip.compress(whole, 9) if packed else whole


@pytest.mark.parametrize(
    ("shape", "length", "packed", "said"),
    [
        ((10, 28, 28), 100_000_000, True, "more bytes where its header"),
        ((10, 28, 28), 100_000_000, False, "more bytes where its header"),
        ((2**31, 2**31, 2**31), 10, True, "asks for 9,903,520,314,283,042 TB"),
        ((2**31, 2**31, 2**31), 10, False, "asks for 9,903,520,314,283,042 TB"),
        ((2**32 - 1, 600), 10, True, "asks for 2.58 TB"),
        ((2_000, 28, 28), 10, True, "26 bytes where its header"),
        ((1,) * 200, 10, True, "speaks of 200 dimensions"),
    ],
)
def test_an_idx_file_is_unpacked_as_far_as_its_header_says(
    shape: tuple[int, ...], length: int, packed: bool, said: str, tmp_path: Path, takes_little: None
) -> None:
    path = tmp_path / (TEST_FILES[0] + ".gz" * packed)
    with gzip.open(path, "wb") if packed else path.open("wb") as file:
        file.write(idx(shape, b"", packed=False))
        for start in range(0, length, 10**6):
            file.write(bytes(min(10**6, length - start)))
    (tmp_path / TEST_FILES[1]).write_bytes(idx((10,), bytes(10), packed=False))
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UserError, match=said):
        read_partition(tmp_path, TEST_FILES, verify=False)
    assert sorted(os.listdir(tmp_path)) == before, "nothing is renamed in a folder of one's own"


def test_a_whole_idx_file_is_read_packed_or_not(tmp_path: Path) -> None:
    content = bytes(range(200))
    for packed in (False, True):
        (tmp_path / "x").write_bytes(idx((2, 10, 10), content, packed=packed))
        assert read_idx(tmp_path / "x") == idx((2, 10, 10), content, packed=False)


@pytest.mark.parametrize("value", [200_000, 2**31, 10**30, 0, -1, 1e400])
def test_a_side_that_no_image_has_is_refused_by_its_type(value: float) -> None:
    assert mistake(value, ImageSide)


@pytest.mark.parametrize(
    "key", ["dataset.image_size", "student.image_size", "teacher.image_size"],
)  # fmt: skip
def test_a_side_that_no_image_has_is_refused_before_anything_is_imported(key: str) -> None:
    words = ["+experiment=mhist_lite_distill", "dataset=image_folder", "dataset.root=.", f"{key}=200000"]
    _, found = check_overrides(words)
    assert any(f"{key}" in one and "16384" in one for one in found), found


def test_images_and_batches_that_do_not_fit_are_refused_with_what_is_needed_and_what_there_is(
    tmp_path: Path, half_a_gigabyte: None
) -> None:
    with pytest.raises(UserError, match=r"dataset\.image_size=16384 takes .* GB of memory, and .* MB is free: give a"):
        check_decoding(16_384)
    with pytest.raises(UserError, match=r"10,000,000 decoded images of 4000 x 4000 takes 480 TB in .*: give a smaller"):
        check_array(10_000_000, 4_000, tmp_path / "not" / "there")
    with pytest.raises(UserError, match="takes 1,000,000 TB"):
        check_disk(10**18, tmp_path, "this", "that")
    assert 2**28 < (free_memory() or 0) <= 2**29


def test_a_batch_that_does_not_fit_is_refused_when_the_data_are_there(blocks: Path, half_a_gigabyte: None) -> None:
    from kdistill.data.arrays import ImageArrays, Split
    from kdistill.data.room import check_batches
    from kdistill.data.serving import Serving

    image = torch.zeros(1, dtype=torch.uint8).expand(9_000, 3, 200, 200)
    split = Split(image, torch.zeros(9_000, dtype=torch.int64))
    arrays = ImageArrays(split, split[:9], split[:9], ("a", "b"), (0.0,) * 3, (1.0,) * 3, "")
    check_batches(arrays, Serving(batch_size=100, eval_batch_size=10**12))
    with pytest.raises(UserError, match=r"a batch of 9,000 images of 3 x 200 x 200 \(dataset\.batch_size=1000000\)"):
        check_batches(arrays, Serving(batch_size=1_000_000))


def packed_zeros(path: Path, count: int, claimed: int) -> Path:
    """An .npz file of `count` zeros whose header speaks of `claimed`."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (claimed,)})
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
        packed.open("x.npy", "w", force_zip64=True) as file,
    ):
        file.write(header.getvalue())
        for start in range(0, 4 * count, 10**6):
            file.write(bytes(min(10**6, 4 * count - start)))
    return path


@pytest.mark.parametrize(
    ("count", "claimed", "most", "said"),
    [
        (10_000_000, 10_000_000, 1_000_000, "unpacks to 40 MB; up to 1 MB"),
        (10, 10**15, 4_000_000_000, "asks for 4,000 TB"),
        (10, 2, 4_000_000_000, "another length"),
    ],
)
def test_arrays_are_read_as_far_as_the_limit_and_their_headers_agree(
    count: int, claimed: int, most: int, said: str, tmp_path: Path, takes_little: None
) -> None:
    with pytest.raises(UserError, match=said):
        read_arrays(packed_zeros(tmp_path / "x.npz", count, claimed), most)


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 100, b"PK\x03\x04" + bytes(60)])
def test_what_is_no_file_of_arrays_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.npz cannot be read as arrays"):
        read_arrays(tmp_path / "x.npz")


def test_arrays_come_back_and_objects_do_not(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.array(["x", "yy"]), "c": np.float32(3), "d": np.zeros((0, 4))}
    np.savez_compressed(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    found = read_arrays(tmp_path / "x.npz")
    assert found.keys() == arrays.keys() and all(np.array_equal(found[key], value) for key, value in arrays.items())
    np.savez(tmp_path / "o.npz", a=np.array([object()], dtype=object))
    with pytest.raises(UserError, match="holds Python objects"):
        read_arrays(tmp_path / "o.npz")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 200_000, "lists in lists"),
        (b"9" * 5_000, "cannot be read as JSON"),
        (b"\xff\xfe\x00", "cannot be read as JSON"),
        (b"{", "cannot be read as JSON"),
        (b"", "cannot be read as JSON"),
        (b" " * 2_000_000, "has 2 MB; up to 1 MB"),
    ],
)
def test_json_is_read_up_to_a_limit_and_refused_by_name(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        read_json(tmp_path / "x.json", 1_000_000)
    assert "x.json" in str(caught.value)


def test_a_pipe_and_a_device_have_no_end_and_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name in ("pipe", "zeros"):
        with pytest.raises(UserError, match="is no plain file"):
            read_bounded(tmp_path / name)


@pytest.mark.slow
def test_a_table_of_300_000_missing_images_is_refused_in_seconds(tmp_path: Path) -> None:
    from kdistill.data.mhist import MHIST

    (tmp_path / "images").mkdir()
    rows = [f"{n:06d}.png,{('HP', 'SSA')[n % 2]},{('train', 'test')[n % 3 > 1]}" for n in range(300_000)]
    (tmp_path / "annotations.csv").write_text("Image Name,Majority Vote Label,Partition\n" + "\n".join(rows))
    started = time.process_time()
    with pytest.raises(UserError, match="300000 problems"):
        MHIST(str(tmp_path), cache=str(tmp_path / "cache"), image_size=8).load()
    assert time.process_time() - started < 10, "15 s, when each row asked the disk three times"
