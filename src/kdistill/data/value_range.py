"""From which values to which images of more than 8 bits are scaled: one range for a whole data set."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from kdistill.base.checked import read_note, write_note
from kdistill.base.errors import UserError
from kdistill.base.spelling import counted
from kdistill.data.decoding import Range, extent
from kdistill.data.file_facts import Depth
from kdistill.data.held import Source

log = logging.getLogger(__name__)

_UPPER_HALF = 128  # of the byte that Pillow keeps of 16 bits


def settle_range(
    paths: Sequence[Source],
    sources: Sequence[str],
    depths: Sequence[Depth],
    *,
    measured: Sequence[bool],
    given: Range | None,
    cache: Path,
    pool: Executor,
    max_pixels: int,
) -> Range | None:
    """What is scaled to 0..255 in images of more than 8 bits; None where there are none.

    Args:
        paths: N files.
        sources: their sha256.
        depths: what their values need.
        measured: which of them the range is taken from.
        given: the range that is asked for; None: from the least value to the greatest.
        cache: folder in which a range is kept that was measured.
        pool: decodes.
        max_pixels: the most that a file may hold.

    Raises:
        UserError: colour images of 16 bits use the lower ones alone: Pillow keeps the upper 8 bits of such images.
    """
    measure = partial(extent, max_pixels=max_pixels)
    colour = [number for number, one in enumerate(depths) if one == "colour"]
    if colour:
        top = _extent(colour, paths, sources, cache, pool, measure)[1]
        if top < _UPPER_HALF or given not in (None, (0.0, 65535.0)):
            raise UserError(
                f"colour images of 16 bits a channel ({len(colour)}, as {paths[colour[0]]}): Pillow reads the upper 8, "
                f"and their values stay below {256 * (top + 1):.0f} of 65536: save them with 8 bits a channel"
            )
        log.info("colour images of 16 bits a channel (%d): the upper 8 are used", len(colour))
    deep = [number for number, one in enumerate(depths) if one == "grey"]
    if not deep:
        return None
    low, high = given or _extent([n for n in deep if measured[n]] or deep, paths, sources, cache, pool, measure)
    log.info(
        "images of more than 8 bits (%d of %d): %g..%g, %s, become 0..255 (dataset.value_range=[%g,%g])",
        len(deep), len(paths), low, high, "as given" if given else "the range of those to train on", low, high,
    )  # fmt: skip
    if len(deep) + len(colour) < len(paths):
        log.warning("beside them, unscaled: %s of 8 bits", counted(len(paths) - len(deep) - len(colour), "image"))
    return low, high


def _extent(
    numbers: Sequence[int],
    paths: Sequence[Source],
    sources: Sequence[str],
    cache: Path,
    pool: Executor,
    measure: Callable[[Source], Range | None],
) -> Range:
    """The least and the greatest value of some files, from the cache if they were measured before."""
    key = hashlib.sha256("\n".join(sources[number] for number in numbers).encode()).hexdigest()
    file = cache / f"{key[:32]}.range"
    if (note := read_note(file)) is not None:
        return note["low"], note["high"]
    found = [one for one in pool.map(measure, [paths[number] for number in numbers]) if one is not None]
    low, high = min((low for low, _ in found), default=0.0), max((high for _, high in found), default=1.0)
    if low == high:
        low, high = min(low, 0.0), max(high, 1.0)
    write_note(file, {"low": low, "high": high})
    return low, high
