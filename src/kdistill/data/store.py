"""Images decoded once, in parallel, into a uint8 array that later runs map into memory; verified by content hash."""

import hashlib
import json
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kdistill.base.cores import usable_cores
from kdistill.base.errors import UserError
from kdistill.base.spelling import counted
from kdistill.base.storage import file_digest, one_at_a_time, whole_file, write_json
from kdistill.data.decoding import Range, UnreadableImage, decode, depth
from kdistill.data.problems import Problems
from kdistill.data.value_range import settle_range
from kdistill.screen.progress import progress

log = logging.getLogger(__name__)

Decoder = Callable[[Path], tuple[np.ndarray, str] | UnreadableImage]

_VERSION = 1  # of decoding: raise it when the same file would give other pixels
_CHANNELS = 3
_AT_ONCE = 256  # images in memory while decoding


@dataclass(frozen=True)
class StoredImages:
    """Decoded images.

    Attributes:
        image: (N, 3, S, S) uint8, mapped from the file; a write stays in this process.
        key: sha256 of the source files' contents and the way of decoding.
        sources: each source file's sha256.
        value_range: what became 0 and 255 in images of more than 8 bits; None where there are none.
    """

    image: Tensor
    key: str
    sources: tuple[str, ...]
    value_range: Range | None = None


def open_store(
    paths: Sequence[Path],
    *,
    cache: Path,
    image_size: int,
    problems: Problems,
    value_range: Range | None = None,
    measured: Sequence[bool] | None = None,
) -> StoredImages | None:
    """The decoded images of some files, from the cache if they are there.

    The array's own sha256 is checked on every opening; a damaged one is made again with a warning. Two jobs that want
    the same array wait for each other: one decodes, the other finds it.

    Args:
        paths: N files, in the order of the array.
        cache: folder of the arrays, one .npy and one .json each.
        image_size: side S in pixels.
        problems: takes the files that do not decode.
        value_range: what becomes 0 and 255 in images of more than 8 bits; None: the range of their values.
        measured: of which files that range is (N); None: of all.

    Returns:
        The array; None where a file does not decode, or where there are no files.

    Raises:
        UserError: the cache can't be written, or images of 16 bits can't be read as they should.
    """
    if not paths:
        return None
    with ThreadPoolExecutor(usable_cores()) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # large, but not too large
        sources = tuple(pool.map(_sha256, paths))
        try:
            cache.mkdir(parents=True, exist_ok=True)
            scaled = settle_range(
                paths, sources, list(pool.map(depth, paths)), given=value_range, cache=cache, pool=pool,
                measured=measured or [True] * len(paths),
            )  # fmt: skip
            options = f"version={_VERSION} size={image_size} channels={_CHANNELS}"
            if scaled is not None:
                options += f" range={scaled[0]!r},{scaled[1]!r}"
            key = hashlib.sha256("\n".join((options, *sources)).encode()).hexdigest()
            array = cache / f"{key[:32]}.npy"
            decoder = partial(_try, image_size, scaled)
            with one_at_a_time(
                array.with_suffix(".lock"), waiting="another job is decoding these images; waiting for it"
            ):
                facts = _verified(array) or _make(array, paths, image_size, decoder, pool, problems)
        except OSError as error:
            raise UserError(f"decoded images can't be kept in {cache}: {error}; give another dataset.cache") from error
    if facts is None:
        return None
    converted = {mode: count for mode, count in facts["modes"].items() if mode != "RGB"}
    if converted:
        kinds = ", ".join(f"{count} of mode {mode}" for mode, count in sorted(converted.items()))
        log.info("made plain RGB: %d of %s, %s", sum(converted.values()), counted(len(paths), "image"), kinds)
    # Copy on write ("c"): torch wants memory that it may write to.
    return StoredImages(torch.from_numpy(np.load(array, mmap_mode="c")), key, sources, scaled)


def _sha256(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:
        return "unreadable"  # decoding it says why


def _verified(array: Path) -> dict[str, Any] | None:
    """What is written down of an array whose content is what was written; None if it has to be made."""
    record = array.with_suffix(".json")
    if not (array.is_file() and record.is_file()):
        return None
    try:
        facts = json.loads(record.read_bytes())
        if facts["sha256"] == _sha256(array):
            return facts
    except (ValueError, KeyError, TypeError):
        pass
    log.warning("the decoded images in %s are damaged (their sha256 is not the recorded one); decoding again", array)
    return None


def _make(
    array: Path, paths: Sequence[Path], image_size: int, decoder: Decoder, pool: ThreadPoolExecutor, problems: Problems
) -> dict[str, Any] | None:
    try:
        with whole_file(array) as file:
            facts = _decode_all(file, paths, image_size, decoder, pool, problems)
    except UnreadableImage:
        return None
    write_json(array.with_suffix(".json"), facts)
    return facts


def _decode_all(
    file: IO[bytes],
    paths: Sequence[Path],
    image_size: int,
    decoder: Decoder,
    pool: ThreadPoolExecutor,
    problems: Problems,
) -> dict[str, Any]:
    """Writes the .npy file in order as the threads decode; returns its sha256 and how many files had which mode."""
    shape = (len(paths), _CHANNELS, image_size, image_size)
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    file.write(header.getvalue())
    digest = hashlib.sha256(header.getvalue())
    modes: Counter[str] = Counter()
    unreadable = 0
    chunks = range(0, len(paths), _AT_ONCE)
    results = (result for start in chunks for result in pool.map(decoder, paths[start : start + _AT_ONCE]))
    shown = progress().track(results, "decoding images", len(paths), "images")
    for path, result in zip(paths, shown, strict=True):
        if isinstance(result, UnreadableImage):
            problems.add(result.kind, f"{path}: {result}")
            unreadable += 1
            continue
        pixels, mode = result
        content = pixels.tobytes()
        digest.update(content)
        file.write(content)
        modes[mode] += 1
    if unreadable:
        raise UnreadableImage(f"{unreadable} files")
    return {"sha256": digest.hexdigest(), "shape": shape, "modes": dict(modes)}


def _try(image_size: int, value_range: Range | None, path: Path) -> tuple[np.ndarray, str] | UnreadableImage:
    try:
        return decode(path, image_size, value_range)
    except UnreadableImage as error:
        return error
