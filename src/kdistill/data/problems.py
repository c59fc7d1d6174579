"""All that is wrong with a data set, gathered by kind and reported at once."""

from kdistill.base.errors import UserError
from kdistill.base.plain_text import one_line

_SHOWN = 10  # of each kind


class Problems:
    """Gathers problems; one `UserError` names them all.

    A kind says what is wrong and the mend; its items say where.
    """

    def __init__(self) -> None:
        self._items: dict[str, list[str]] = {}

    def add(self, kind: str, item: str) -> None:
        """Notes one problem.

        Args:
            kind: what is wrong, and the remedy: `duplicate names (keep one row of each)`.
            item: where: file, row, what was given.
        """
        self._items.setdefault(kind, []).append(item)

    def full(self, kind: str) -> bool:
        """Whether further items of a kind are only counted."""
        return len(self._items.get(kind, ())) >= _SHOWN

    def __len__(self) -> int:
        return sum(map(len, self._items.values()))

    def raise_if_any(self, subject: str) -> None:
        """Reports what was gathered, if anything.

        Raises:
            UserError: the subject, and under each kind its first items and how many more there are.
        """
        if not self._items:
            return
        lines = [f"{subject}: {len(self)} problem{'s' * (len(self) > 1)}"]
        for kind, items in self._items.items():
            lines += [f"  {kind}:", *(f"    {one_line(item)}" for item in items[:_SHOWN])]
            if len(items) > _SHOWN:
                lines.append(f"    and {len(items) - _SHOWN} more")
        raise UserError("\n".join(lines))
