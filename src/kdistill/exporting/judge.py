"""How good an 8-bit file is on validation: what the ranges of its activations and its float layers are chosen by."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from kdistill.evidence.figures import FIGURES
from kdistill.exporting.formats import Session

_BATCH = 32


@dataclass(frozen=True)
class Judgement:
    """A file held against the float network on validation pictures.

    Attributes:
        difference: the file's metric less the float network's; NaN where the metric is not defined.
        agreement: share of pictures where both name the same class.
        distance: how far the logits are off (root mean square), as a share of how far the float network's spread.
    """

    difference: float
    agreement: float
    distance: float


@dataclass(frozen=True)
class Judge:
    """Validation pictures, what they are, and what the float network says of them. Test is never seen here.

    Attributes:
        pictures: (N, ...) uint8.
        target: (N,) class numbers.
        logits: (N, K) of the float network.
        metric: accuracy, f1 or auroc.
        margin: how much less of it is still as good.
        most: the distance that is still as good.
        seconds: that choosing may take.
    """

    pictures: np.ndarray
    target: np.ndarray
    logits: np.ndarray
    metric: str
    margin: float
    most: float
    seconds: float

    def judge(self, session: Session) -> Judgement:
        """Runs the validation pictures through a file."""
        logits = np.concatenate([session.run(part)[1] for part in self.batches()])
        figure = FIGURES[self.metric]
        centred, reference = (one - one.mean(1, keepdims=True) for one in (logits, self.logits))
        apart = float(np.sqrt(np.square(centred - reference).mean()))
        return Judgement(
            figure(logits, self.target) - figure(self.logits, self.target),
            float((logits.argmax(1) == self.logits.argmax(1)).mean()),
            apart / max(float(reference.std()), 1e-9),
        )

    def is_good(self, found: Judgement) -> bool:
        """Whether a file loses no more than the margin, and its logits are near the float network's."""
        return not found.difference < -self.margin and found.distance <= self.most

    def of_some(self, count: int) -> "Judge":
        """By so many of the pictures, spread over all, that are quicker to run."""
        some = np.linspace(0, len(self.target), min(count, len(self.target)), endpoint=False).astype(int)
        return replace(self, pictures=self.pictures[some], target=self.target[some], logits=self.logits[some])

    def batches(self) -> Iterator[np.ndarray]:
        """The pictures, some at a time."""
        for start in range(0, len(self.pictures), _BATCH):
            yield self.pictures[start : start + _BATCH]
