"""What is searched, from Hydra's override grammar to Optuna's distributions and back."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from kdistill.base.errors import UserError
from kdistill.base.spelling import did_you_mean
from kdistill.config.hydra_setup import ChoiceSweep, IntervalSweep, Override, RangeSweep
from kdistill.config.validate import report

_TAGS = ("log",)
_NOT_SEARCHED = ("callbacks.checkpoint.monitor", "callbacks.checkpoint.mode")
_MOST_LETTERS = 120  # of a folder's name


@dataclass(frozen=True)
class Space:
    """The knobs of a search.

    Attributes:
        fixed: overrides that every trial has.
        knobs: distributions by dotted key.
        prefixes: what Hydra's grammar wants before a key: `+` where the key is added to the config.
    """

    fixed: tuple[str, ...]
    knobs: dict[str, BaseDistribution]
    prefixes: dict[str, str]

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """A trial's overrides, as the command line takes them."""
        return [*self.fixed, *(f"{self.prefixes[name]}{name}={_text(params[name])}" for name in self.knobs)]

    def folder(self, number: int, params: Mapping[str, Any]) -> str:
        """The name of a trial's folder: its number and what it tries."""
        tried = ",".join(f"{name}={_short(params[name])}" for name in self.knobs)
        return f"{number:03d}-{re.sub(r'[^-+.,=@A-Za-z0-9_]+', '_', tried)}"[:_MOST_LETTERS]

    def grid(self) -> dict[str, list[Any]]:
        """All values of every knob.

        Raises:
            UserError: a knob has no countable values.
        """
        endless = [name for name, knob in self.knobs.items() if isinstance(knob, FloatDistribution) and not knob.step]
        if endless:
            raise UserError(
                report([f"{name}: sampler=grid needs values it can count: a list or range(...)" for name in endless])
            )
        return {name: _values(knob) for name, knob in self.knobs.items()}

    def described(self) -> dict[str, str]:
        """The knobs as plain texts; equal for equal spaces."""
        return {name: repr(knob) for name, knob in sorted(self.knobs.items())}


def read_space(overrides: Sequence[Override]) -> Space:
    """The search space that a command line spells.

    Args:
        overrides: of the task, parsed with a config loader (for `glob`).

    Raises:
        UserError: an override spells no space, or there is nothing to search; the message lists all that is wrong.
    """
    found: list[str] = []
    fixed: list[str] = []
    knobs: dict[str, BaseDistribution] = {}
    prefixes: dict[str, str] = {}
    for override in overrides:
        if not override.is_sweep_override():
            fixed.append(str(override.input_line))
            continue
        key = override.get_key_element()
        name = key.lstrip("+")
        wrong = _mistakes(name, override)
        found += [f"{override.input_line}: {text}" for text in wrong]
        if not wrong:
            prefixes[name] = key.removesuffix(name)
            knobs[name] = _distribution(override)
    if not knobs and not found:
        found.append("nothing to search: give a knob several values, such as loss.temperature=interval(1,20)")
    if found:
        raise UserError(report(found))
    return Space(tuple(fixed), knobs, prefixes)


def _mistakes(name: str, override: Override) -> list[str]:
    sweep: Any = override.value()
    found = []
    if name in _NOT_SEARCHED:
        found.append("this says by what a trial is judged, so all trials must have the same")
    if isinstance(sweep, IntervalSweep):
        unknown = sorted(set(sweep.tags) - set(_TAGS))
        found += [f"unknown tag '{tag}'{did_you_mean(tag, _TAGS)} (there is: log)" for tag in unknown]
        low, high = sweep.start, sweep.end
        assert low is not None and high is not None
        if low >= high:
            found.append(f"an interval goes from the lower to the higher number: interval({high:g},{low:g})")
        elif "log" in sweep.tags and low <= 0:
            found.append(f"with tag(log, ...) the interval must begin above 0, not at {low:g}")
    elif not list(override.sweep_string_iterator()):
        found.append("there is no value in it")
    elif sweep.tags if isinstance(sweep, ChoiceSweep | RangeSweep) else ():
        found.append("tags are for intervals: tag(log,interval(1e-4,1e-2))")
    return found


def _distribution(override: Override) -> BaseDistribution:
    sweep: Any = override.value()
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None and sweep.end is not None
        log = "log" in sweep.tags
        if isinstance(sweep.start, int) and isinstance(sweep.end, int):  # int(interval(...))
            return IntDistribution(sweep.start, sweep.end, log=log)
        return FloatDistribution(sweep.start, sweep.end, log=log)
    if isinstance(sweep, RangeSweep):
        steps = sorted(float(value) for value in list(sweep.range()))
        if all(isinstance(value, int) for value in (sweep.start, sweep.stop, sweep.step)):
            return IntDistribution(int(steps[0]), int(steps[-1]), step=abs(int(sweep.step)))
        low, high = (float(f"{end:.12g}") for end in (steps[0], steps[-1]))
        return FloatDistribution(low, high, step=abs(float(sweep.step)))
    if isinstance(sweep, ChoiceSweep):
        sweep.shuffle = False  # the order is part of what a search is known by when it is started again
    # As text: a choice may be a word, a number, a list or an option of a group.
    return CategoricalDistribution(list(dict.fromkeys(override.sweep_string_iterator())))


def _values(knob: BaseDistribution) -> list[Any]:
    if isinstance(knob, CategoricalDistribution):
        return list(knob.choices)
    if isinstance(knob, IntDistribution):
        return list(range(knob.low, knob.high + 1, knob.step))
    assert isinstance(knob, FloatDistribution) and knob.step is not None
    count = round((knob.high - knob.low) / knob.step) + 1
    return [float(f"{knob.low + place * knob.step:.12g}") for place in range(count)]


def _text(value: Any) -> str:
    """A value as an override: eight digits say all that matters, and .3 is not .30000000000000004."""
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
