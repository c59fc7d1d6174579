"""The line that moves: its parts, fitted to the width of the terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

_BAR = 24  # characters, where there is room for them
_LEAST_BAR = 8
_LEAST_LABEL = 9
_GAP = "  "


@dataclass(frozen=True)
class Facts:
    """What is known of a stage when its line is drawn.

    Attributes:
        done, total: of what the bar shows, such as an epoch's images.
        unit: of these two.
        before: what stands before them, such as `epoch 3/20`.
        after: what stands behind them, such as `loss 0.1234`.
        label: what is going on now, where the stage's own label does not say it.
        short: the label where there is little room.
    """

    done: int
    total: int
    unit: str
    before: str = ""
    after: tuple[str, ...] = ()
    label: str = ""
    short: str = ""


def draw(label: str, facts: Facts, left: str, width: int) -> Text:
    """The line, at most `width` wide: what matters least is shortened first, the label last.

    Args:
        label: what is going on; `facts.label` says it better where there is one.
        facts: how far it is.
        left: the time left, in words.
        width: of the terminal.
    """
    label, count = facts.label or label, f"{facts.done:,}/{facts.total:,}"
    few = f"{_short(facts.done)}/{_short(facts.total)}"
    short = facts.short or label
    least = short if len(short) <= _LEAST_LABEL else f"{short[: _LEAST_LABEL - 1]}…"
    tried = [(label, f"{count} {facts.unit}"), (label, count), (label, few), (short, few), (least, few), (least, "")]
    parts: list[str] = []
    for name, shown in tried:
        parts = [part for part in (name, facts.before, shown, *facts.after, left) if part]
        if len(_GAP.join(parts)) <= width:
            break
    room = width - len(_GAP.join(parts))
    if parts[0] == least != short and room > 0:
        parts[0] = f"{short[: _LEAST_LABEL - 1 + room]}…"  # as much of it as there is room for
        room = 0
    size = min(_BAR, room - len(_GAP))
    return _joined(parts, _bar(facts, size) if size >= _LEAST_BAR else "", width)


def _joined(parts: Sequence[str], bar: str, width: int) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis", end="")
    text.append(parts[0], style="bold")
    if bar:
        text.append(_GAP).append(bar, style="cyan")
    for part in parts[1:]:
        text.append(_GAP).append(part)
    text.truncate(width, overflow="ellipsis")
    return text


def _bar(facts: Facts, size: int) -> str:
    full = round(size * min(facts.done / facts.total, 1.0)) if facts.total else 0
    return "━" * full + "·" * (size - full)


def _short(count: int) -> str:
    return f"{count / 1000:.0f}k" if count >= 10_000 else str(count)


def clock(seconds: float) -> str:
    """`1:05` or `2:00:09`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


Look = Callable[[], Facts]
