"""Which ranges, and which layers in float: chosen on validation, in a bounded time, and told; for any format."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kdistill.base.errors import UserError
from kdistill.base.spelling import counted, did_you_mean
from kdistill.exporting.formats import Session
from kdistill.exporting.judge import Judge, Judgement
from kdistill.exporting.manifest import Attempt, Quantisation
from kdistill.exporting.quantiser import Quantiser, Recipe
from kdistill.exporting.timing import time_in_turns
from kdistill.screen.progress import progress
from kdistill.screen.stage import Stage

_METHODS = 4  # files, before layers are looked at
_SHARE = 0.4  # of the time, for methods
_FEW, _FEWEST = 64, 8  # validation images, to rank layers: as many of them as there is time for
_RANKING = 0.75  # of the time, before what was ranked is tried


@dataclass(frozen=True)
class _Try:
    recipe: Recipe
    file: Path
    found: Judgement


def choose(
    quantiser: Quantiser, judge: Judge | None, path: Path, *, method: str, float_layers: Sequence[str] | None
) -> Quantisation:
    """Writes the file in 8 bits that validation finds good, or the nearest to it that was found in time.

    The plain file is tried first, and is what is taken where it is good. Else weights are given room, then other
    ranges; then the layers go to float that bring the logits nearest to the float network's, 1, 2, 4, ... of them.

    Args:
        quantiser: writes the files.
        judge: validation; None: nothing is chosen.
        path: where the file goes.
        method: of the ranges; auto: any.
        float_layers: by name; None: any.

    Raises:
        UserError: there is no layer of a given name.
    """
    _check_names(quantiser, float_layers or ())
    plain = replace(quantiser.plain(method), float_layers=tuple(float_layers or ()))
    if judge is None:
        quantiser.write(plain, path)
        return _told(quantiser, plain, path, None, None, None, 1, 0.0, "nothing was chosen")
    with progress().stage("choosing ranges and float layers", _METHODS, "files") as stage:
        search = _Search(quantiser, judge, stage, any_method=method == "auto", any_layer=float_layers is None)
        search.run(plain)
    best, first = search.best, search.tried[0]
    for part in quantiser.format.files(best.file):
        part.replace(path.with_suffix(part.suffix))
    latency: tuple[float, float] | None = None
    if best is not first:
        session = quantiser.format.session
        pictures, files = judge.pictures[:1], {"plain": session(first.file), "chosen": session(path)}
        times = time_in_turns({name: lambda one=one: one.run(pictures) for name, one in files.items()})  # type: ignore[misc]
        latency = times["plain"].median, times["chosen"].median
    told = _told(
        quantiser, best.recipe, path, best.found, judge, latency and latency[1], search.looked_at, search.seconds,
        search.reason,
    )  # fmt: skip
    if best is not first:
        told["plain"] = _attempt(quantiser, first.recipe, first.file, first.found, latency and latency[0])
    return told


class _Search:
    """Files tried one after the other, each judged in its own runtime on validation."""

    def __init__(
        self, quantiser: Quantiser, judge: Judge, stage: Stage, *, any_method: bool, any_layer: bool
    ) -> None:  # fmt: skip
        self.quantiser, self.judge, self.stage = quantiser, judge, stage
        self.any_method, self.any_layer = any_method, any_layer
        self.tried: list[_Try] = []
        self.looked_at, self.reason = 0, ""
        self._begun = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.perf_counter() - self._begun

    @property
    def best(self) -> _Try:
        """The first that is good, else the nearest to the float network."""
        good = [one for one in self.tried if self.judge.is_good(one.found)]
        return good[0] if good else min(self.tried, key=lambda one: one.found.distance)

    def run(self, plain: Recipe) -> None:
        """Tries until one is good or the time is over."""
        for recipe in self._recipes(plain):
            try:
                one = self._try(recipe)
            except UserError:
                if not self.tried:
                    raise
                continue  # a runtime may have no way to compute just this mixture
            if self.judge.is_good(one.found):
                self.reason = "the plain file is good" if one is self.tried[0] else "the first that is good"
                return
            if self.seconds > self.judge.seconds:
                self.reason = f"none was good within {self.judge.seconds:g} s: the nearest to the float network"
                return
        self.reason = "none was good: the nearest to the float network"

    def _recipes(self, plain: Recipe) -> Iterator[Recipe]:
        yield plain
        plain_seconds = self.seconds
        if self.quantiser.room and not plain.room:
            yield replace(plain, room=True)
        for method, cost in self.quantiser.others.items() if self.any_method else ():
            if method != plain.method and cost * plain_seconds < _SHARE * self.judge.seconds - self.seconds:
                yield Recipe(method, self.best.recipe.room, plain.float_layers)
        if not self.any_layer:
            return
        base = self.best.recipe
        ranked, most = self._ranked(self.best), len(self.quantiser.layers) // 2
        for power in range(math.floor(math.log2(most)) + 1 if most else 0):
            yield Recipe(base.method, base.room, tuple(ranked[: 2**power]))

    def _try(self, recipe: Recipe) -> _Try:
        file = self.quantiser.folder / f"try{len(self.tried)}{self.quantiser.format.suffix}"
        self.quantiser.write(recipe, file)
        one = _Try(recipe, file, self.judge.judge(self.quantiser.format.session(file)))
        self.tried.append(one)
        self._count()
        return one

    def _ranked(self, base: _Try) -> list[str]:
        """The layers' names, first those that take the logits nearest to the float network's by being in float."""
        names, in_float = self.quantiser.layers, self.quantiser.one_in_float(base.recipe, base.file)
        distances: dict[str, float] = {}
        few = self._some_for(len(names), lambda: in_float(names[0]))
        self.stage.total = self.looked_at + len(names) + len(names).bit_length() - 1
        for name in names:
            if self.seconds > _RANKING * self.judge.seconds:
                break
            distances[name] = few.judge(in_float(name)).distance
            self._count()
        return sorted(distances, key=distances.__getitem__)

    def _some_for(self, layers: int, make: Callable[[], Session]) -> Judge:
        """As many validation pictures as there is time to look at for each of so many layers."""
        fewest, begun = self.judge.of_some(_FEWEST), time.perf_counter()
        fewest.judge(make())
        each = (time.perf_counter() - begun) / len(fewest.target)
        left = _RANKING * self.judge.seconds - self.seconds
        return self.judge.of_some(int(min(_FEW, max(_FEWEST, left / layers / each))))

    def _count(self) -> None:
        self.looked_at += 1
        self.stage.advance(1)


def _check_names(quantiser: Quantiser, given: Sequence[str]) -> None:
    names = quantiser.layers
    for name in given:
        if name not in names:
            near = did_you_mean(name, names)
            raise UserError(
                f"float_layers: there is no layer {name!r}{near}; there are {', '.join(names[:8])}"
                + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            )


def _told(
    quantiser: Quantiser, recipe: Recipe, file: Path, found: Judgement | None, judge: Judge | None,
    latency: float | None, tries: int, seconds: float, reason: str,
) -> Quantisation:  # fmt: skip
    return {
        "chosen": _attempt(quantiser, recipe, file, found, latency),
        "plain": None,
        "layers": len(quantiser.layers),
        "judged_on": f"{counted(len(judge.target), 'image')} of validation, by class" if judge else None,
        "reason": reason,
        "tries": tries,
        "seconds": round(seconds, 1),
    }


def _attempt(
    quantiser: Quantiser, recipe: Recipe, file: Path, found: Judgement | None, latency: float | None
) -> Attempt:  # fmt: skip
    return {
        "method": recipe.method,
        "weights": (recipe.room and quantiser.room) or "",
        "float_layers": list(recipe.float_layers),
        "size_bytes": sum(part.stat().st_size for part in quantiser.format.files(file)),
        "latency_ms": latency,
        "difference": None if found is None or math.isnan(found.difference) else found.difference,
        "agreement": None if found is None else found.agreement,
        "distance": None if found is None else found.distance,
    }
