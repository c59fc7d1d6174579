"""A store of tensors by (view, sample): memory-mapped files under a fingerprint of all that they depend on."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdistill.base.checked import CheckedArray, read_note
from kdistill.base.errors import UserError
from kdistill.base.shortage import missing_space
from kdistill.base.space import free_disk
from kdistill.base.storage import digest, writing_problem
from kdistill.ranks import world
from kdistill.replay.filling import Filling, at_once
from kdistill.replay.forms import Part, form_of

log = logging.getLogger(__name__)

Outputs = Mapping[str, Tensor]
Compute = Callable[[int, Tensor], Outputs]


class ReplayStore:
    """For each of a number of samples and views, one tensor of every name.

    A view is complete or not there: rows are written in order, and how many are good is noted after each chunk has
    reached the file, so that a killed job's work is taken up where it stopped. Two jobs that want the same store wait
    for each other at its lock. A chunk is looked at when it is first read: what does not fit its sum is computed again.
    """

    def __init__(
        self, cache: Path, label: str, key: Mapping[str, Any], *, shapes: Mapping[str, Sequence[int]], samples: int,
        dtype: str, top_k: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        """What is stored, and where.

        Args:
            cache: folder of all stores.
            label: begins the store's folder name, for people.
            key: all that the tensors depend on, as plain data; another key is another store.
            shapes: of one sample's tensors, by name.
            samples: N.
            dtype: fp32, fp16, bf16 or int8, as stored; tensors come out as float32.
            top_k: of which tensors, logits, only so many classes are kept; see `forms.LargestLogits`.
        """
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.samples = samples
        self.dtype = dtype
        self.top_k = dict(top_k or {})
        self.forms = {name: form_of(shape, dtype, self.top_k.get(name)) for name, shape in self.shapes.items()}
        facts = {**key, "shapes": self.shapes, "samples": samples, "dtype": dtype}
        if self.top_k:
            facts["top_k"] = self.top_k
        self.facts = json.loads(json.dumps(facts, sort_keys=True))
        self.folder = cache / f"{label}-{digest(self.facts)[:16]}"
        self._open: dict[int, dict[str, list[tuple[CheckedArray, Tensor]]]] = {}
        self._compute: tuple[Compute, int, str] | None = None

    @property
    def view_bytes(self) -> int:
        """Size of one view."""
        return self.samples * sum(part.nbytes for _, part in self._parts())

    def _parts(self) -> list[tuple[str, Part]]:
        """All arrays of a view in the order of their files, each with the tensor's name."""
        return [(name, part) for name, form in self.forms.items() for part in form.parts]

    def no_room(self, views: Sequence[int]) -> str | None:
        """Why these views cannot be stored where they should be; None where they can."""
        there = next(place for place in self.folder.absolute().parents if place.exists())
        begun = sum(file.stat().st_blocks * 512 for view in views for file in self.folder.glob(f"{_stem(view)}.*.bin"))
        needed, free = self.view_bytes * len(views) - begun, free_disk(there)
        return missing_space(there, needed, free) if needed > free else writing_problem(self.folder)

    def missing(self, views: Sequence[int]) -> list[int]:
        """Those of the views that are not complete."""
        return [view for view in views if self.begun(view)[0] < self.samples]

    def read(self, view: int, index: Tensor) -> dict[str, Tensor]:
        """Tensors of some samples.

        Args:
            view: a complete view.
            index: (n,) int64 sample numbers.

        Returns:
            (n, ...) float32 by name, on the device of `index`.

        Raises:
            UserError: the view was there when this process filled the store, and is not any more.
        """
        if view not in self._open:
            self._open[view] = self._opened(view, index.device)
        numbers, found = index, {}
        for name, parts in self._open[view].items():
            rows = []
            for array, stored in parts:
                numbers = numbers.to(stored.device)
                if not array.is_checked:
                    self._mend(view, array, array.damaged(numbers.numpy()))
                rows.append(stored.index_select(0, numbers).to(index.device))
            found[name] = self.forms[name].unpack(rows)
        return found

    def _opened(self, view: int, device: torch.device) -> dict[str, list[tuple[CheckedArray, Tensor]]]:
        rows, chunk = self.begun(view)
        if rows < self.samples:
            if self._compute is None:
                raise RuntimeError(f"view {view} of {self.folder} is not filled")
            raise UserError(
                f"replay: view {view} of {self.folder} was removed or cut short while this run was reading it; the "
                "same command stores it anew and goes on from its last checkpoint"
            )
        place = self._place(device)
        found: dict[str, list[tuple[CheckedArray, Tensor]]] = {name: [] for name in self.shapes}
        for (name, part), array in zip(self._parts(), self.arrays(view, chunk), strict=True):
            if place.type != "cpu":
                self._mend(view, array, array.damaged())  # what leaves for the device is not looked at again
            mapped = torch.from_numpy(array.mapped()).view(part.dtype)
            found[name].append((array, mapped.to(place)))
        return found

    def _mend(self, view: int, array: CheckedArray, damaged: Sequence[range]) -> None:
        """Computes again what is not as it was written."""
        if not damaged:
            return
        count = sum(map(len, damaged))
        if self._compute is None:
            raise UserError(f"replay: {array.file} is damaged ({count:,} samples do not fit their sums); remove it")
        compute, batch_size, what = self._compute
        log.warning("replay: %s: %d samples of %s do not fit their sums; computed again", array.file, count, what)
        number = int(array.file.name.split(".")[1])
        for rows in damaged:
            parts = torch.arange(rows.start, rows.stop).split(batch_size)
            array.mend(rows.start, np.concatenate([self.stored(compute(view, part))[number] for part in parts]))

    def _place(self, device: torch.device) -> torch.device:
        """Where the next view goes: to the device that reads it, if it takes no third of a GPU's free memory."""
        fits = device.type != "cuda" or self.view_bytes <= torch.cuda.mem_get_info(device)[0] / 3
        return device if fits else torch.device("cpu")

    def fill(self, views: Sequence[int], compute: Compute, *, batch_size: int, what: str) -> None:
        """Computes and stores what is missing of some views, with a progress bar; of several processes each a share.

        Args:
            views: which.
            compute: from a view and (n,) sample numbers to (n, ...) tensors by name; also what is found damaged later
                is computed by it.
            batch_size: samples computed at once, by all processes together.
            what: what is stored, for messages.

        Raises:
            UserError: the folder can't be written.
        """
        self._compute = compute, at_once(batch_size), what
        if world.from_first(lambda: self.missing(views)):
            Filling(self, views, compute, batch_size, what).run()

    def stored(self, outputs: Outputs) -> list[np.ndarray]:
        """Tensors as their files have them, in the order of `arrays`."""
        packed = [part for name, form in self.forms.items() for part in form.pack(outputs[name])]
        return [(part.view(torch.int16) if part.dtype == torch.bfloat16 else part).numpy() for part in packed]

    def arrays(self, view: int, chunk: int) -> list[CheckedArray]:
        """The files of a view."""
        return [
            CheckedArray(
                self.folder / f"{_stem(view)}.{number}.bin",
                shape=(self.samples, *part.shape),
                dtype=part.file_type,
                chunk=chunk,
                key=f"{self.folder.name} {view} {name}" + f" {number}" * (len(self.forms[name].parts) > 1),
            )
            for number, (name, part) in enumerate(self._parts())
        ]

    def note(self, view: int) -> Path:
        return self.folder / f"{_stem(view)}.json"

    def begun(self, view: int) -> tuple[int, int]:
        """How many rows of a view are stored, none where a file is not as long as it has to be; rows of a chunk."""
        note = read_note(self.note(view))
        if note is None or not all(array.is_there for array in self.arrays(view, note["chunk"])):
            return 0, 1
        return note["rows"], note["chunk"]


def _stem(view: int) -> str:
    return f"view-{view:05d}"
