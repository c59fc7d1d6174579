"""A table as text: of the screen, of Markdown and of a page alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NAME_WIDTH = 16  # screen columns; longer names may fold


@dataclass(frozen=True)
class Sheet:
    """One table: a title, the columns' names, rows of text, and lines below it; a cell may have several lines.

    Attributes:
        kind: how the page sets it: "words" to the left, "ranking" with the first row in bold.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    below: tuple[str, ...] = ()
    kind: str = ""

    @classmethod
    def of_columns(cls, title: str, columns: Mapping[str, Sequence[str]], below: tuple[str, ...] = ()) -> "Sheet":
        """From the cells of each column, by its name."""
        return cls(title, tuple(columns), tuple(zip(*columns.values(), strict=True)), below)

    def fitted(self, width: int) -> list["Sheet"]:
        """Side by side where the screen is wide enough, else in parts below each other; each has the first column."""
        first, *others = self.widths()
        parts: list[list[int]] = [[0]]
        left = width - min(first, NAME_WIDTH)
        for n, wide in enumerate(others, start=1):
            if wide > left and len(parts[-1]) > 1:
                parts.append([0])
                left = width - min(first, NAME_WIDTH)
            parts[-1].append(n)
            left -= wide
        return [self._part(columns, self.below if columns is parts[-1] else ()) for columns in parts]

    def widths(self) -> list[int]:
        """Screen columns that each column needs, with the space beside it."""
        texts = [(self.columns[n], *(row[n] for row in self.rows)) for n in range(len(self.columns))]
        return [2 + max(len(line) for cell in cells for line in cell.split("\n")) for cells in texts]

    def _part(self, kept: Sequence[int], below: tuple[str, ...]) -> "Sheet":
        rows = tuple(tuple(row[n] for n in kept) for row in self.rows)
        return Sheet(self.title, tuple(self.columns[n] for n in kept), rows, below)
