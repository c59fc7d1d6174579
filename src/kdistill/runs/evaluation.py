"""What evaluating a run again found."""

from dataclasses import dataclass

from kdistill.runs.record import Figures


@dataclass(frozen=True)
class Evaluation:
    """A run's network, tested from its files.

    Attributes:
        run: its folder.
        label: what people call the network.
        dataset_root: where the test images lie.
        teacher: of a distilled student, the weights that were asked again, or that they are gone.
        test: figures.
        recorded: the run's own, where the data are the same.
    """

    run: str
    label: str
    dataset_root: str | None
    teacher: str | None
    test: Figures
    recorded: Figures | None
