"""Whether something is worth storing."""

from collections.abc import Sequence
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
        if switch == "on":
            raise UserError(f"replay: {text}; raise it, lower dataset.views, or use replay.dtype=bf16")
        return Decision(False, text)
    if switch == "auto" and len(views) >= shows * share and not shared:
        once = f"each of {len(views)} views is shown once" if share == 1 else (
            f"an epoch shows {100 * share:.2g}% of the samples, so that most answers would never be used again"
        )  # fmt: skip
        return Decision(False, f"{once}; dataset.views=K shows fewer, more often")
    if wrong := store.no_room(store.missing(views)):
        if switch == "on":
            raise UserError(f"replay: {what} can't be stored in {store.folder}: {wrong}; give another replay.cache")
        return Decision(False, f"{wrong}; replay.cache=<another folder> would make training faster")
    return Decision(True, amount)
