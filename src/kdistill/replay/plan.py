"""Whether something is worth storing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kdistill.base.errors import UserError
from kdistill.replay.store import ReplayStore


@dataclass(frozen=True)
class Decision:
    """yes or no, and the reason in words."""

    replay: bool
    reason: str


def decide(
    switch: str,
    store: ReplayStore,
    views: Sequence[int],
    *,
    shows: int,
    max_gb: float,
    shared: bool,
    what: str,
    share: float = 1.0,
    smaller: Mapping[str, ReplayStore] | None = None,
) -> Decision:
    """Whether to replay from a store.

    Args:
        switch: `on`, `off` or `auto`. `auto` replays what is stored already, and stores what this run, or the sweep
            that it is part of, shows more than once, where there is room.
        store: where it would be.
        views: the views that the run shows.
        shows: how often it shows one of them: once an epoch, or twice.
        max_gb: the most that these views may take, in 10^9 bytes.
        shared: other jobs of this sweep show the same views.
        what: what is stored, for messages.
        share: of the samples, how many an epoch shows: 1 but where there are many without labels.
        smaller: stores of the same that take less, by the words of a config that ask for them.

    Raises:
        UserError: `on`, and the store would be larger than `max_gb`, or there is no room for it.
    """
    if switch == "off":
        return Decision(False, "off")
    size = store.view_bytes * len(views) / 1e9
    amount = f"{len(views)} view{'s' if len(views) > 1 else ''} of {store.samples:,} samples, {size:.3g} GB"
    if not store.missing(views):
        return Decision(True, f"{amount}, stored before")
    if size > max_gb:
        text = f"{what} would take {size:.3g} GB ({amount}), more than replay.max_gb={max_gb:g}"
        fits = _that_fits(smaller or {}, views, lambda one: one.view_bytes * len(views) / 1e9 <= max_gb)
        if switch == "on":
            raise UserError(f"replay: {text}; raise it, lower dataset.views, or {fits or 'use replay.teacher=off'}")
        return Decision(False, f"{text}{fits and '; '}{fits}")
    if switch == "auto" and len(views) >= shows * share and not shared:
        once = f"each of {len(views)} views is shown once" if share == 1 else (
            f"an epoch shows {100 * share:.2g}% of the samples, so that most answers would never be used again"
        )  # fmt: skip
        return Decision(False, f"{once}; dataset.views=K shows fewer, more often")
    if wrong := store.no_room(store.missing(views)):
        fits = _that_fits(smaller or {}, views, lambda one: one.no_room(one.missing(views)) is None)
        fits = fits and f", or {fits}"
        if switch == "on":
            raise UserError(
                f"replay: {what} can't be stored in {store.folder}: {wrong}; give another replay.cache{fits}"
            )
        return Decision(False, f"{wrong}; replay.cache=<another folder> would make training faster{fits}")
    return Decision(True, amount)


def _that_fits(smaller: Mapping[str, ReplayStore], views: Sequence[int], fits: Callable[[ReplayStore], bool]) -> str:
    """What the first smaller store that fits is asked for with, and what it would take; nothing where none does."""
    for words, store in smaller.items():
        if fits(store):
            return f"{words} would take {store.view_bytes * len(views) / 1e9:.3g} GB"
    return ""
