"""How image files are kept between runs: decoded in an array, or as they are where that would be too large."""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from kdistill.base.checked import CheckedArray, read_note, write_note
from kdistill.base.cores import usable_cores
from kdistill.base.errors import UserError
from kdistill.base.limits import IMAGE_PIXELS
from kdistill.base.space import size
from kdistill.base.spelling import counted
from kdistill.base.storage import one_at_a_time
from kdistill.base.whole import remove_leftovers
from kdistill.data.decoding import Range, UnreadableImage, lets_through
from kdistill.data.encoded import EncodedImages
from kdistill.data.held import Source
from kdistill.data.pack import open_pack, stamp_of
from kdistill.data.problems import Problems
from kdistill.data.room import check_decoding
from kdistill.data.store import StoredImages, open_store, say_modes, way_of_decoding
from kdistill.data.value_range import settle_range
from kdistill.screen.progress import progress

log = logging.getLogger(__name__)

Storage = Literal["auto", "decoded", "encoded"]
MAX_DECODED_GB = 20.0
_CHANNELS, _SUMS = 3, 6
_CHUNK = 4096  # rows of sums that have a sum together
_AT_ONCE, _TOGETHER = 512, 8  # images that are handed to the threads; of a task


def open_images(
    paths: Sequence[Source],
    *,
    storage: Storage = "auto",
    max_decoded_gb: float = MAX_DECODED_GB,
    cache: Path,
    image_size: int,
    problems: Problems,
    value_range: Range | None = None,
    max_pixels: int = IMAGE_PIXELS,
    measured: Sequence[bool] | None = None,
) -> StoredImages | None:
    """The images of some files, kept as is asked for.

    Args:
        paths: N files, in the order of the images.
        storage: "decoded" once into an array, "encoded" as they came, or "auto": decoded where that takes no more than
            `max_decoded_gb`.
        max_decoded_gb: in 10^9 bytes.
        cache: folder of what is kept.
        image_size: side S in pixels.
        problems: takes the files that do not decode.
        value_range: what becomes 0 and 255 in images of more than 8 bits; None: the range of their values.
        max_pixels: the most that a file may hold.
        measured: of which files that range is (N); None: of all.

    Returns:
        The images; None where a file does not decode, or where there are no files.

    Raises:
        UserError: the cache can't be written, there is no room, or images of 16 bits can't be read as they should.
    """
    decoded = len(paths) * _CHANNELS * image_size**2
    too_large = storage == "auto" and decoded > max_decoded_gb * 1e9
    if too_large:
        log.info(
            "%s of %d x %d would take %s decoded, more than dataset.max_decoded_gb=%g: they stay encoded, and are "
            "decoded batch by batch", counted(len(paths), "image"), image_size, image_size, size(decoded),
            max_decoded_gb,
        )  # fmt: skip
    opener = open_encoded if too_large or storage == "encoded" else open_store
    return opener(
        paths, cache=cache, image_size=image_size, problems=problems, value_range=value_range,
        max_pixels=max_pixels, measured=measured,
    )  # fmt: skip


def open_encoded(
    paths: Sequence[Source],
    *,
    cache: Path,
    image_size: int,
    problems: Problems,
    value_range: Range | None = None,
    max_pixels: int = IMAGE_PIXELS,
    measured: Sequence[bool] | None = None,
) -> StoredImages | None:
    """The packed files, from the cache if they are there; each was decoded once, which finds those that are broken.

    Arguments, result and errors are those of `open_images`.
    """
    if not paths:
        return None
    check_decoding(image_size)
    with ThreadPoolExecutor(usable_cores()) as pool, lets_through(max_pixels):
        stamp, sizes = stamp_of(paths)
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with one_at_a_time(
                cache / f"{stamp[:32]}.lock", waiting="another job is packing these images; waiting for it"
            ):
                remove_leftovers(cache)
                pack = open_pack(paths, stamp, sizes, cache=cache, pool=pool, problems=problems, max_pixels=max_pixels)
                if pack is None:
                    return None
                sources, scaled = pack.sources(), None
                if pack.is_deep:
                    scaled = settle_range(
                        paths, sources, pack.depths(), given=value_range, cache=cache, pool=pool,
                        measured=measured or [True] * len(paths), max_pixels=max_pixels,
                    )  # fmt: skip
                options = way_of_decoding(image_size, scaled)
                image = EncodedImages(pack, np.zeros((len(pack), _SUMS), np.uint64), image_size, scaled, max_pixels)
                options += " shrunk" * image.is_scaled
                key = hashlib.sha256("\n".join((options, *sources)).encode()).hexdigest()
                checked = _checked(image, paths, cache, key, pool, problems)
        except OSError as error:
            raise UserError(f"encoded images can't be kept in {cache}: {error}; give another dataset.cache") from error
    if checked is None:
        pack.remove()
        return None
    return StoredImages(checked, key, sources, scaled)


def _checked(
    image: EncodedImages, paths: Sequence[Source], cache: Path, key: str, pool: Executor, problems: Problems
) -> EncodedImages | None:
    """The images with the sums of their values, from the cache or by decoding each; None where one does not decode."""
    note = cache / f"{key[:32]}.moments.json"
    array = CheckedArray(cache / f"{key[:32]}.moments", shape=image.sums.shape, dtype="<u8", chunk=_CHUNK, key=key)
    facts = read_note(note)
    if facts is None or not array.is_there or array.damaged():
        modes = _measure_all(image, paths, pool, problems)
        if modes is None:
            return None
        array.create()
        array.write(0, image.sums)
        array.sync()
        facts = {"modes": modes}
        write_note(note, facts)
    say_modes(facts["modes"])
    return replace(image, sums=array.mapped())


def _measure_all(
    image: EncodedImages, paths: Sequence[Source], pool: Executor, problems: Problems
) -> dict[str, int] | None:
    """Fills in the sums; how many files had which mode, or None where one does not decode."""
    first, same = image.pack.first_of()
    windows = (first[at : at + _AT_ONCE] for at in range(0, len(first), _AT_ONCE))
    tasks = ([some[at : at + _TOGETHER] for at in range(0, len(some), _TOGETHER)] for some in windows)
    results = (one for some in tasks for part in pool.map(partial(_measure, image), some) for one in part)
    found = list(progress().track(results, "checking images", len(first), "images"))
    image.sums[:] = image.sums[first][same]
    modes, unreadable = Counter[str](), 0
    for path, number in zip(paths, same.tolist(), strict=True):
        if isinstance(result := found[number], UnreadableImage):
            problems.add(result.kind, f"{path}: {result}")
            unreadable += 1
        else:
            modes[result] += 1
    return None if unreadable else dict(modes)


def _measure(image: EncodedImages, numbers: np.ndarray) -> list[str | UnreadableImage]:
    """Decodes some images, notes their sums; the mode of each."""
    modes: list[str | UnreadableImage] = []
    for number in numbers.tolist():
        try:
            pixels, mode = image.decoded(number)
        except UnreadableImage as error:
            modes.append(error)
            continue
        values = pixels.reshape(_CHANNELS, -1).astype(np.float64)  # whose sums are exact up to 2^53
        image.sums[number] = *values.sum(1), *np.square(values).sum(1)
        modes.append(mode)
    return modes
