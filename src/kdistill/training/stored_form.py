"""In which form a run stores its outputs, as its config says, and which other forms would take less."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from kdistill.base.types import Json
from kdistill.replay.forms import classes_kept
from kdistill.replay.store import ReplayStore

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Stored:
    """In which form a config stores a run's outputs.

    Attributes:
        config: the run's.
        logits: the name of the teacher's logits among the tensors; None: they are a network's frozen part's.
        all_classes: whether the loss needs the logits of all classes.
    """

    config: DictConfig
    logits: str | None = None
    all_classes: bool = True

    def store(self, label: str, key: Mapping[str, Json], shapes: Shapes, samples: int) -> ReplayStore:
        """Where the outputs are stored, or would be."""
        return self._store(label, key, shapes, samples, self.config.replay.dtype, self.config.replay.keep)

    def smaller(self, label: str, key: Mapping[str, Json], shapes: Shapes, samples: int) -> dict[str, ReplayStore]:
        """Stores of the same that would take less, by the words that ask for them; those with the least error first."""
        ways = {"replay.dtype=bf16": ("bf16", "all")}
        if self.logits is not None:
            ways["replay.dtype=int8"] = ("int8", "all")
            if not self.all_classes:
                ways["replay.keep=top_k"] = (self.config.replay.dtype, "top_k")
        most = self.store(label, key, shapes, samples).view_bytes
        stores = {words: self._store(label, key, shapes, samples, *way) for words, way in ways.items()}
        return {words: store for words, store in stores.items() if store.view_bytes < most}

    def form(self, shapes: Shapes) -> str:
        """In words."""
        dtype, k = self.config.replay.dtype, self.kept(shapes)
        if self.logits is None or k is None:
            return str(dtype)
        return f"{dtype}, {k} of {shapes[self.logits][0]:,} classes and the mass of the rest"

    def _store(
        self, label: str, key: Mapping[str, Json], shapes: Shapes, samples: int, dtype: str, keep: str
    ) -> ReplayStore:
        given: dict[str, Any] = {"shapes": shapes, "samples": samples}
        if self.logits is None:
            return ReplayStore(self._cache, label, key, **given, dtype="bf16" if dtype == "int8" else dtype)
        k = self._kept(shapes, dtype, keep)
        return ReplayStore(self._cache, label, key, **given, dtype=dtype, top_k={} if k is None else {self.logits: k})

    @property
    def _cache(self) -> Path:
        return Path(self.config.replay.cache)

    def kept(self, shapes: Shapes) -> int | None:
        """How many classes of each answer; None: all."""
        return self._kept(shapes, self.config.replay.dtype, self.config.replay.keep)

    def _kept(self, shapes: Shapes, dtype: str, keep: str) -> int | None:
        if self.logits is None:
            return None
        return classes_kept(keep, self.config.replay.k, shapes[self.logits][0], dtype)
