"""A device file, tested in its own runtime against the float network that it was made from."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from kdistill.evidence.figures import figures
from kdistill.evidence.noninferior import NonInferiority, noninferiority
from kdistill.exporting.formats import Session
from kdistill.exporting.timing import Timing, one_thread, time_in_turns
from kdistill.screen.progress import progress

Answers = tuple[np.ndarray, np.ndarray]  # probabilities and logits, (N, K)


@dataclass(frozen=True)
class Verified:
    """What the whole test set says of a file.

    Attributes:
        test: its figures.
        float_test: those of the float network.
        found: the one held against the other.
        latency: of a picture, warm, on one thread; `float_latency` that of the float network in torch, in turns.
    """

    test: dict[str, float]
    float_test: dict[str, float]
    found: NonInferiority
    latency: Timing
    float_latency: Timing


def answers(run: Callable[[np.ndarray], Answers], batches: Iterable[np.ndarray], label: str, total: int) -> Answers:
    """Probabilities and logits, (N, K) each, of all pictures."""
    shown = progress().track(batches, label, total, "images", len)
    probabilities, logits = zip(*(run(pictures) for pictures in shown), strict=True)
    return np.concatenate(probabilities), np.concatenate(logits)


def verify(
    session: Session,
    in_float: Callable[[np.ndarray], Answers],
    float_logits: np.ndarray,
    batches: Iterable[np.ndarray],
    target: np.ndarray,
    picture: np.ndarray,
    *,
    label: str,
    metric: str,
    margin: float,
) -> Verified:
    """Tests a file on all test pictures and times it beside the float network.

    Args:
        session: the file.
        in_float: the float network.
        float_logits: (N, K) that it gives on test.
        batches: the test pictures.
        target: (N,) their classes.
        picture: one, (1, ...).
        label: for the line of progress.
        metric: accuracy, f1 or auroc.
        margin: how much less of it is still as good.
    """
    _, logits = answers(session.run, batches, label, len(target))
    found = noninferiority(float_logits, logits, target, metric=metric, margin=margin)
    with one_thread():
        times = time_in_turns({"file": lambda: session.run(picture), "float": lambda: in_float(picture)})
    return Verified(figures(logits, target), figures(float_logits, target), found, times["file"], times["float"])
