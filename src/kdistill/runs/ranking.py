"""Settings of a sweep ranked by what validation says, the mean over their seeds; test has no say in it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Value = float | str
Settings = tuple[Value, ...]


@dataclass(frozen=True)
class Sweep:
    """Runs that differ in some settings and in their seed alone.

    Attributes:
        name: what they have in common.
        metric: of validation, such as `val/accuracy`.
        lower: whether less of it is better.
        keys: the settings that were swept, without the seed.
        values: by the settings' values in the order of `keys`, the figure of each seed.
    """

    name: str
    metric: str
    lower: bool
    keys: tuple[str, ...]
    values: Mapping[Settings, Sequence[float]]

    @cached_property
    def means(self) -> dict[Settings, float]:
        return {settings: sum(figures) / len(figures) for settings, figures in self.values.items()}

    @cached_property
    def ranked(self) -> list[Settings]:
        """The best first; of equals, lower settings first; what is not a number comes last."""

        def order(settings: Settings) -> tuple[bool, float, list[tuple[bool, Value]]]:
            mean = self.means[settings]
            signed = 0.0 if math.isnan(mean) else mean if self.lower else -mean
            return math.isnan(mean), signed, [sortable(value) for value in settings]

        return sorted(self.values, key=order)

    @property
    def chosen(self) -> Settings:
        return self.ranked[0]

    @cached_property
    def varied(self) -> tuple[str, ...]:
        """The keys that have more than one value."""
        return tuple(key for key in self.keys if len(self.axis(key)) > 1)

    def axis(self, key: str) -> list[Value]:
        """The values of a key, in order."""
        return sorted({self.at(settings, key) for settings in self.values}, key=sortable)

    def at(self, settings: Settings, key: str) -> Value:
        return settings[self.keys.index(key)]

    def is_numeric(self, key: str) -> bool:
        return not any(isinstance(value, str) for value in self.axis(key))

    @property
    def edges(self) -> list[str]:
        """Numeric settings with three values or more whose chosen value is the lowest or highest that was tried."""
        axes = {key: self.axis(key) for key in self.varied if self.is_numeric(key)}
        return [key for key, axis in axes.items() if len(axis) > 2 and self.at(self.chosen, key) in (axis[0], axis[-1])]


def sortable(value: Value) -> tuple[bool, Value]:
    """Numbers before words."""
    return isinstance(value, str), value


def by_settings(given: Mapping[Path, Mapping[str, str]], keys: Sequence[str]) -> dict[Settings, list[Path]]:
    """Runs by their settings' values in the order of `keys`; `-` where a run was not given a key."""
    runs: dict[Settings, list[Path]] = {}
    for path, texts in given.items():
        runs.setdefault(tuple(as_value(texts.get(key, "-")) for key in keys), []).append(path)
    return runs


def as_value(text: str) -> Value:
    """A setting from its text on the command line."""
    try:
        return float(text)
    except ValueError:
        return text.strip("'\"")


def shown(value: Value) -> str:
    """A setting for the screen: as short as it can be without saying another number."""
    if isinstance(value, str):
        return value
    short = f"{value:g}"
    return short if float(short) == value or math.isnan(value) else repr(value)
