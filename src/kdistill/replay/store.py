"""A store of tensors by (view, sample): memory-mapped files under a fingerprint of all that they depend on."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.storage import digest, one_at_a_time, write_json, writing_problem
from kdistill.screen.progress import progress

log = logging.getLogger(__name__)

# NumPy has no bfloat16: its bits are kept as integers.
_DTYPES: dict[str, tuple[torch.dtype, str]] = {
    "fp32": (torch.float32, "<f4"),
    "fp16": (torch.float16, "<f2"),
    "bf16": (torch.bfloat16, "<i2"),
}

Outputs = Mapping[str, Tensor]


class ReplayStore:
    """For each of a number of samples and views, one tensor of every name.

    A view is complete or not there: rows are written in order, and how many are good is noted after each chunk has
    reached the file, so that a killed job's work is taken up where it stopped. Two jobs that want the same store wait
    for each other at its lock.
    """

    def __init__(
        self, cache: Path, label: str, key: Mapping[str, Any], *, shapes: Mapping[str, Sequence[int]], samples: int,
        dtype: str,
    ) -> None:  # fmt: skip
        """What is stored, and where.

        Args:
            cache: folder of all stores.
            label: begins the store's folder name, for people.
            key: all that the tensors depend on, as plain data; another key is another store.
            shapes: of one sample's tensors, by name.
            samples: N.
            dtype: fp32, fp16 or bf16, as stored; tensors come out as float32.
        """
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.samples = samples
        self.dtype = dtype
        facts = {**key, "shapes": self.shapes, "samples": samples, "dtype": dtype}
        self.facts = json.loads(json.dumps(facts, sort_keys=True))
        self.folder = cache / f"{label}-{digest(self.facts)[:16]}"
        self._open: dict[int, dict[str, Tensor]] = {}

    @property
    def view_bytes(self) -> int:
        """Size of one view."""
        values = sum(prod(shape) for shape in self.shapes.values())
        return self.samples * values * np.dtype(_DTYPES[self.dtype][1]).itemsize

    def no_room(self, views: Sequence[int]) -> str | None:
        """Why these views cannot be stored where they should be; None where they can."""
        if wrong := writing_problem(self.folder):
            return wrong
        there = next(place for place in self.folder.absolute().parents if place.exists())
        needed, free = self.view_bytes * len(views), shutil.disk_usage(there).free
        return f"{needed / 1e9:.3g} GB are needed in {there}, {free / 1e9:.3g} GB are free" if needed > free else None

    def missing(self, views: Sequence[int]) -> list[int]:
        """Those of the views that are not complete."""
        return [view for view in views if self._rows(view) < self.samples]

    def read(self, view: int, index: Tensor) -> dict[str, Tensor]:
        """Tensors of some samples.

        Args:
            view: a complete view.
            index: (n,) int64 sample numbers.

        Returns:
            (n, ...) float32 by name, on the device of `index`.
        """
        if view not in self._open:
            if self.missing([view]):
                raise RuntimeError(f"view {view} of {self.folder} is not filled")
            place = self._place(index.device)
            self._open[view] = {name: self._map(view, name, "c").to(place) for name in self.shapes}
        return {
            name: stored.index_select(0, index.to(stored.device)).to(index.device).float()
            for name, stored in self._open[view].items()
        }

    def _place(self, device: torch.device) -> torch.device:
        """Where the next view goes: to the device that reads it, if it takes no third of a GPU's free memory."""
        fits = device.type != "cuda" or self.view_bytes <= torch.cuda.mem_get_info(device)[0] / 3
        return device if fits else torch.device("cpu")

    def fill(
        self, views: Sequence[int], compute: Callable[[int, Tensor], Outputs], *, batch_size: int, what: str
    ) -> None:
        """Computes and stores what is missing of some views, with a progress bar.

        Args:
            views: which.
            compute: from a view and (n,) sample numbers to (n, ...) tensors by name.
            batch_size: samples computed at once.
            what: what is stored, for messages.

        Raises:
            UserError: the folder can't be written.
        """
        try:
            waiting = f"replay: another job is storing {what}; waiting for it"
            with one_at_a_time(self.folder / ".lock", waiting=waiting):
                write_json(self.folder / "key.json", self.facts)
                self._fill(self.missing(views), compute, batch_size, what)
        except OSError as error:
            raise UserError(
                f"replay: {what} can't be stored in {self.folder}: {error}; give another replay.cache, free "
                f"{self.view_bytes * len(views) / 1e9:.2f} GB there, or use replay.teacher=off replay.prefix=off"
            ) from error

    def _fill(
        self, views: Sequence[int], compute: Callable[[int, Tensor], Outputs], batch_size: int, what: str
    ) -> None:
        chunks = [
            (view, start)
            for view in views
            for start in range(self._rows(view), self.samples, batch_size)
        ]  # fmt: skip
        total = sum(min(batch_size, self.samples - start) for _, start in chunks)
        with progress().stage(f"storing {what}", total, "images") as stage:
            for view, start in chunks:
                index = torch.arange(start, min(start + batch_size, self.samples))
                self._compute(view, index, compute, what)
                stage.advance(len(index))

    def _compute(self, view: int, index: Tensor, compute: Callable[[int, Tensor], Outputs], what: str) -> None:
        """Stores the next rows of a view."""
        start = int(index[0])
        outputs = compute(view, index)
        for name in self.shapes:
            if not torch.isfinite(outputs[name]).all():
                raise UserError(f"replay: {what} of view {view} is not finite ({name}); use replay off, or mend it")
            stored = self._map(view, name, "r+" if start else "w+")
            stored[start : start + len(index)] = outputs[name].to("cpu", stored.dtype)
            del stored
        write_json(self._note(view), {"rows": start + len(index)})

    def _map(self, view: int, name: str, mode: Any) -> Tensor:
        """(N, ...) tensor over a view's file."""
        dtype, descriptor = _DTYPES[self.dtype]
        shape = (self.samples, *self.shapes[name])
        if mode == "w+" and hasattr(os, "posix_fallocate"):  # in a file with holes, a full disk ends the process
            with self._file(view, name).open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, prod(shape) * np.dtype(descriptor).itemsize)
            mode = "r+"
        return torch.from_numpy(np.memmap(self._file(view, name), descriptor, mode, shape=shape)).view(dtype)

    def _file(self, view: int, name: str) -> Path:
        return self.folder / f"view-{view:05d}.{list(self.shapes).index(name)}.bin"

    def _note(self, view: int) -> Path:
        return self.folder / f"view-{view:05d}.json"

    def _rows(self, view: int) -> int:
        """How many rows of a view are good; none where a file is not as long as it has to be."""
        if not self._note(view).is_file():
            return 0
        for name, shape in self.shapes.items():
            file = self._file(view, name)
            size = self.samples * prod(shape) * np.dtype(_DTYPES[self.dtype][1]).itemsize
            if not file.is_file() or file.stat().st_size != size:
                return 0
        return int(json.loads(self._note(view).read_text())["rows"])
