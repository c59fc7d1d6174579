"""How a store is filled: by one process, or by several in shares; in order, so that what is noted is good."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from kdistill.base.checked import CheckedArray, write_note
from kdistill.base.errors import UserError
from kdistill.base.storage import one_at_a_time, write_json
from kdistill.base.whole import remove_leftovers
from kdistill.ranks import world
from kdistill.screen.progress import progress

if TYPE_CHECKING:
    from kdistill.replay.store import ReplayStore

Chunk = tuple[int, int, int]  # view, first row, rows of each chunk of that view


def at_once(batch_size: int) -> int:
    """Samples that a process computes together: its part of a batch that all of them share out, as in training."""
    return -(-batch_size // world.size())


class Filling:
    """One filling of a store with what some views lack."""

    def __init__(
        self,
        store: "ReplayStore",
        views: Sequence[int],
        compute: Callable[[int, Tensor], Mapping[str, Tensor]],
        batch_size: int,
        what: str,
    ) -> None:
        """As `ReplayStore.fill` is asked to."""
        self.store, self.views, self.compute, self.batch_size, self.what = store, views, compute, batch_size, what
        self._at_once = at_once(batch_size)
        self._is_begun = False

    def run(self) -> None:
        """Fills it; another job that fills it at this time is waited for.

        Raises:
            UserError: the folder can't be written, or what is to be stored is not finite.
        """
        waiting = f"replay: another job is storing {self.what}; waiting for it"
        with self._in_words(), world.first_in(one_at_a_time(self.store.folder / ".lock", waiting=waiting)):
            chunks = world.from_first(self._begin)
            together = world.size()
            total = sum(map(self._rows, chunks))
            with progress().stage(f"storing {self.what}", total, "images") as stage:
                for first in range(0, len(chunks), together):
                    wave = chunks[first : first + together]  # one for each process; noted when all have theirs
                    world.agree(self._mistake_in(wave[world.rank() : world.rank() + 1]))
                    world.from_first(lambda wave=wave: self._note_down(wave))  # type: ignore[misc]
                    stage.advance(sum(map(self._rows, wave)))

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """A block in which it is told what keeps answers from being stored."""
        store = self.store
        try:
            yield
        except OSError as error:
            if self._is_begun and not store.folder.is_dir():
                raise UserError(
                    f"replay: {store.folder} was removed while {self.what} was being stored there"
                ) from error
            wrong = store.no_room(store.missing(self.views)) or str(error)
            raise UserError(
                f"replay: {self.what} can't be stored in {store.folder}: {wrong}; give another replay.cache, free "
                "space there, store less (fewer dataset.views, replay.dtype=bf16 or int8), or use replay.teacher=off "
                "replay.prefix=off. The same command goes on with what is stored already"
            ) from error

    def _begin(self) -> list[Chunk]:
        """Makes the files of what is missing; returns what is to be computed."""
        store = self.store
        with self._in_words():
            remove_leftovers(store.folder)
            write_json(store.folder / "key.json", store.facts)
            self._is_begun = True
            begun = {view: store.begun(view) for view in store.missing(self.views)}
            self._allocate([view for view in begun if not begun[view][0]])
        return [
            (view, start, chunk)
            for view, (rows, noted) in begun.items()
            for chunk in [noted if rows else self.batch_size]
            for start in range(rows, store.samples, chunk)
        ]  # fmt: skip

    def _allocate(self, views: Sequence[int]) -> None:
        """Takes the space of all views before any is computed."""
        made: list[CheckedArray] = []
        try:
            for view in views:
                for array in self.store.arrays(view, self.batch_size):
                    made.append(array)
                    array.create()
        except OSError:
            for array in made:
                array.remove()
            raise

    def _rows(self, part: Chunk) -> int:
        _, start, chunk = part
        return min(chunk, self.store.samples - start)

    def _mistake_in(self, own: Sequence[Chunk]) -> UserError | None:
        """Computes and stores this process's chunks; returns what went wrong, which all are to hear."""
        try:
            with self._in_words():
                for part in own:
                    self._compute(part)
        except UserError as error:
            if world.size() == 1:
                raise
            return error
        return None

    def _compute(self, part: Chunk) -> None:
        view, start, chunk = part
        index = torch.arange(start, start + self._rows(part))
        outputs = [self.compute(view, some) for some in index.split(self._at_once)]
        for output in outputs:
            for name, tensor in output.items():
                if not torch.isfinite(tensor).all():
                    raise UserError(
                        f"replay: {self.what} of view {view} is not finite ({name}); use replay off, or mend it"
                    )
        stored = zip(*map(self.store.stored, outputs), strict=True)
        for array, parts in zip(self.store.arrays(view, chunk), stored, strict=True):
            array.write(start, np.concatenate(parts))

    def _note_down(self, wave: Sequence[Chunk]) -> None:
        """Notes how many rows are good."""
        with self._in_words():
            for view, start, chunk in wave:
                write_note(self.store.note(view), {"rows": start + self._rows((view, start, chunk)), "chunk": chunk})
