"""Images decoded once, in parallel, into a uint8 array that later runs map into memory; verified by sums."""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np
import torch

from kdistill.base.checked import CheckedArray, read_note, write_note
from kdistill.base.cores import usable_cores
from kdistill.base.errors import UserError
from kdistill.base.limits import IMAGE_PIXELS
from kdistill.base.spelling import counted
from kdistill.base.storage import one_at_a_time
from kdistill.base.whole import remove_leftovers
from kdistill.data.arrays import Images
from kdistill.data.decoding import Range, UnreadableImage, decode, lets_through
from kdistill.data.held import Source
from kdistill.data.problems import Problems
from kdistill.data.room import check_array, check_decoding
from kdistill.data.sources import read_sources
from kdistill.data.value_range import settle_range
from kdistill.screen.progress import progress

log = logging.getLogger(__name__)

Decoder = Callable[[Source], tuple[np.ndarray, str] | UnreadableImage]

_VERSION = 1  # of decoding: raise it when the same file would give other pixels
_CHANNELS = 3
_AT_ONCE, _BYTES_AT_ONCE = 256, 2**28  # images in memory while decoding
_TASKS = 64  # that these are made of
_CHUNK = 2**20  # bytes of an array that have a sum together, about


@dataclass(frozen=True)
class StoredImages:
    """Images that are kept.

    Attributes:
        image: (N, 3, S, S) uint8, mapped from the file (a write stays in this process), or encoded still.
        key: sha256 of the source files' contents and the way of decoding.
        sources: each source file's sha256.
        value_range: what became 0 and 255 in images of more than 8 bits; None where there are none.
    """

    image: Images
    key: str
    sources: tuple[str, ...]
    value_range: Range | None = None


def open_store(
    paths: Sequence[Source],
    *,
    cache: Path,
    image_size: int,
    problems: Problems,
    value_range: Range | None = None,
    max_pixels: int = IMAGE_PIXELS,
    measured: Sequence[bool] | None = None,
) -> StoredImages | None:
    """The decoded images of some files, from the cache if they are there.

    The array is checked on every opening, which reads all of it anyway for its moments; of a damaged one the images
    that are concerned are decoded again, with a warning. Two jobs that want the same array wait for each other: one
    decodes, the other finds it.

    Args:
        paths: N files, in the order of the array.
        cache: folder of the arrays; of each its images (.npy), their sums (.npy.sums) and a note (.json).
        image_size: side S in pixels.
        problems: takes the files that do not decode.
        value_range: what becomes 0 and 255 in images of more than 8 bits; None: the range of their values.
        max_pixels: the most that a file may hold.
        measured: of which files that range is (N); None: of all.

    Returns:
        The array; None where a file does not decode, or where there are no files.

    Raises:
        UserError: the cache can't be written, there is no room, or images of 16 bits can't be read as they should.
    """
    if not paths:
        return None
    check_decoding(image_size)
    with ThreadPoolExecutor(usable_cores()) as pool, lets_through(max_pixels):
        sources, depths = read_sources(paths, pool)
        try:
            cache.mkdir(parents=True, exist_ok=True)
            scaled = settle_range(
                paths, sources, depths, given=value_range, cache=cache, pool=pool,
                measured=measured or [True] * len(paths), max_pixels=max_pixels,
            )  # fmt: skip
            options = way_of_decoding(image_size, scaled)
            key = hashlib.sha256("\n".join((options, *sources)).encode()).hexdigest()
            array = _array(cache / f"{key[:32]}.npy", len(paths), image_size, key)
            if not array.file.exists():
                check_array(len(paths), image_size, cache)
            decoder = partial(_try, image_size, scaled, max_pixels)
            with one_at_a_time(
                array.file.with_suffix(".lock"), waiting="another job is decoding these images; waiting for it"
            ):
                remove_leftovers(cache)
                modes = _verified(array, paths, decoder, pool) or _make(array, paths, decoder, pool, problems)
        except OSError as error:
            raise UserError(f"decoded images can't be kept in {cache}: {error}; give another dataset.cache") from error
    if modes is None:
        return None
    say_modes(modes)
    return StoredImages(torch.from_numpy(array.mapped()), key, sources, scaled)


def way_of_decoding(image_size: int, value_range: Range | None) -> str:
    """All that a file's pixels depend on besides its content."""
    options = f"version={_VERSION} size={image_size} channels={_CHANNELS}"
    return options if value_range is None else f"{options} range={value_range[0]!r},{value_range[1]!r}"


def say_modes(modes: Mapping[str, int]) -> None:
    """Which files were no plain RGB, by how many files had which mode."""
    converted = {mode: count for mode, count in modes.items() if mode != "RGB"}
    if converted:
        kinds = ", ".join(f"{count} of mode {mode}" for mode, count in sorted(converted.items()))
        log.info("made plain RGB: %d of %s, %s", sum(converted.values()), counted(sum(modes.values()), "image"), kinds)


def _array(file: Path, count: int, image_size: int, key: str) -> CheckedArray:
    shape = (count, _CHANNELS, image_size, image_size)
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    chunk = min(_AT_ONCE, max(1, _CHUNK // prod(shape[1:])))
    return CheckedArray(file, shape=shape, dtype="|u1", chunk=chunk, key=key, header=header.getvalue())


def _verified(
    array: CheckedArray, paths: Sequence[Source], decoder: Decoder, pool: ThreadPoolExecutor
) -> dict[str, int] | None:
    """How many files had which mode, of an array that is as it was written, or is again; None if it has to be made."""
    note = array.file.with_suffix(".json")
    if not (array.file.exists() and note.exists()):
        return None
    facts = read_note(note)
    if facts is None or not array.is_there:
        log.warning("the decoded images in %s are damaged, or an earlier version's; decoding again", array.file)
        return None
    if damaged := array.damaged():
        count = counted(sum(map(len, damaged)), "image")
        log.warning("the decoded images in %s are damaged; decoding %s again", array.file, count)
    for rows in damaged:
        results = list(pool.map(decoder, paths[rows.start : rows.stop]))
        if any(isinstance(result, UnreadableImage) for result in results):
            return None
        array.mend(rows.start, np.stack([result[0] for result in results if not isinstance(result, UnreadableImage)]))
    return dict(facts["modes"])


def _make(
    array: CheckedArray, paths: Sequence[Source], decoder: Decoder, pool: ThreadPoolExecutor, problems: Problems
) -> dict[str, int] | None:
    """Decodes all images, in order; how many files had which mode, or None where one does not decode."""
    note = array.file.with_suffix(".json")
    note.unlink(missing_ok=True)
    try:
        array.create()
        modes = _decode_all(array, paths, decoder, pool, problems)
        array.sync()
    except BaseException as error:
        array.remove()
        if isinstance(error, UnreadableImage):
            return None
        raise
    write_note(note, {"shape": array.shape, "modes": modes})
    return modes


def _decode_all(
    array: CheckedArray, paths: Sequence[Source], decoder: Decoder, pool: ThreadPoolExecutor, problems: Problems
) -> dict[str, int]:
    """Writes the array as the threads decode; returns how many files had which mode."""
    modes: Counter[str] = Counter()
    unreadable = 0
    at_once = max(1, min(_AT_ONCE, _BYTES_AT_ONCE // prod(array.shape[1:])))
    chunks = range(0, len(paths), at_once)
    some = partial(_some, decoder)
    tasks = (_parted(paths[start : start + at_once]) for start in chunks)
    results = (result for parts in tasks for part in pool.map(some, parts) for result in part)
    shown = progress().track(results, "decoding images", len(paths), "images")
    rows: list[np.ndarray] = []
    for number, (path, result) in enumerate(zip(paths, shown, strict=True), 1):
        if isinstance(result, UnreadableImage):
            problems.add(result.kind, f"{path}: {result}")
            unreadable += 1
            continue
        if unreadable:
            continue  # nothing will be kept; the other files are looked at all the same
        pixels, mode = result
        modes[mode] += 1
        rows.append(pixels)
        if len(rows) == array.chunk or number == len(paths):
            array.write(number - len(rows), np.stack(rows))
            rows = []
    if unreadable:
        raise UnreadableImage(f"{unreadable} files")
    return dict(modes)


def _parted(paths: Sequence[Source]) -> list[Sequence[Source]]:
    """Paths in as many parts as there are tasks: one for each of 200,000 small images would cost as much as they do."""
    each = -(-len(paths) // _TASKS)
    return [paths[start : start + each] for start in range(0, len(paths), each)]


def _some(decoder: Decoder, paths: Sequence[Source]) -> list[tuple[np.ndarray, str] | UnreadableImage]:
    return [decoder(path) for path in paths]


def _try(
    image_size: int, value_range: Range | None, max_pixels: int, path: Source
) -> tuple[np.ndarray, str] | UnreadableImage:
    try:
        return decode(path, image_size, value_range, max_pixels=max_pixels)
    except UnreadableImage as error:
        return error
