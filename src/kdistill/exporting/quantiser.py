"""What makes files of 8 bits of a network, one recipe after another, in any format; `choice` says which recipes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdistill.exporting.formats import Format, Session


@dataclass(frozen=True)
class Recipe:
    """A way to make 8 bits.

    Attributes:
        method: how the ranges of activations are found, by the quantiser's own word.
        room: whether weights are made smaller, so that sums of products do not overflow 16 bits.
        float_layers: by name.
    """

    method: str
    room: bool = False
    float_layers: tuple[str, ...] = ()


class Quantiser(ABC):
    """Writes one network in 8 bits, by one recipe after another.

    Attributes:
        format: whose files they are.
        folder: where it may write; it is removed afterwards.
        layers: names of those that have weights, in the order in which they are computed.
        others: methods beside the plain recipe's that are worth a try, in this order: each takes so many times the
            seconds of the plain recipe.
        room: what a recipe with room does to weights, in words; None: nothing, as sums do not overflow.
    """

    format: Format
    folder: Path
    layers: Sequence[str]
    others: Mapping[str, float]
    room: str | None = None

    @abstractmethod
    def plain(self, method: str) -> Recipe:
        """The recipe that is tried first.

        Args:
            method: auto, or the one that is wanted.

        Raises:
            UserError: this network has nothing that the method could go by.
        """

    @abstractmethod
    def write(self, recipe: Recipe, path: Path) -> None:
        """Writes the file, whole."""

    @abstractmethod
    def one_in_float(self, base: Recipe, file: Path) -> Callable[[str], Session]:
        """What ranks layers: answers as a file gives them, but for one layer in float, or near enough to them.

        Args:
            base: the file's recipe.
            file: as `write` made it.

        Returns:
            Gives for a layer's name the file with that one in float.
        """
