"""The jobs that the command line of a sweep stands for: all of them, and those that are tried before it starts."""

from collections.abc import Iterator, Sequence
from itertools import product

from kdistill.config.hydra_setup import IntervalSweep, Override, RangeSweep, parsed


def combinations(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """The overrides of each job that Hydra's own sweeper makes of a command line's, without Hydra's own keys."""
    choices: dict[str, list[str]] = {}
    for one in map(parsed, texts):
        if not one.is_hydra_override():
            key = one.get_key_element()
            values = one.sweep_string_iterator() if one.is_sweep_override() else [one.get_value_element_as_str()]
            choices[key] = [f"{key}={value}" for value in values]
    return list(product(*choices.values()))


def jobs_to_try(overrides: Sequence[Override]) -> Iterator[list[str]]:
    """The overrides of some jobs: all first values, then each other value in turn.

    Of a list every value is tried, of a range or an interval both ends.
    """
    columns = [_values(override) for override in overrides]
    first = [column[0] for column in columns]
    yield first
    for place, column in enumerate(columns):
        for value in column[1:]:
            yield [*first[:place], value, *first[place + 1 :]]


def _values(override: Override) -> list[str]:
    """An override as one text, or one text for each value of its sweep."""
    sweep = override.value()
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if isinstance(sweep, IntervalSweep):
        values = [str(sweep.start), str(sweep.end)]
    else:
        values = list(override.sweep_string_iterator())
    if isinstance(sweep, RangeSweep):
        values = [values[0], values[-1]]
    return [f"{override.get_key_element()}={value}" for value in values]


def with_int(problem: str, overrides: Sequence[Override]) -> str:
    """A problem; with the mend where an interval of fractions is given for a whole number."""
    for override in overrides:
        key, _, interval = str(override.input_line).partition("=")
        if isinstance(override.value(), IntervalSweep) and problem.startswith(f"{key.lstrip('+')}: must be a whole"):
            return f"{key.lstrip('+')}: must be a whole number, write {key}=int({interval})"
    return problem
