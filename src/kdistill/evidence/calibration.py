"""Probabilities from logits, how honest they are, and one temperature that mends them: the control for 'calibrates'."""

import numpy as np
from scipy.optimize import minimize_scalar

BINS = 15
_LOWEST, _HIGHEST = 0.02, 50.0  # of a temperature


def probabilities(logits: np.ndarray) -> np.ndarray:
    """softmax in float64: (N, K) to (N, K)."""
    found = np.exp(_shifted(logits))
    return (found / found.sum(0)).T


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """log softmax in float64: (N, K) to (N, K), in nats."""
    shifted = _shifted(logits)
    return (shifted - np.log(np.exp(shifted).sum(0))).T


def _shifted(logits: np.ndarray) -> np.ndarray:
    """Logits less each sample's largest, float64, (K, N): of few classes NumPy adds up rows faster than columns."""
    exact = np.ascontiguousarray(logits.T, dtype=np.float64)
    return exact - exact.max(0)


def log_odds(logits: np.ndarray) -> np.ndarray:
    """log p / (1 - p) of each class, in float64: (N, K) to (N, K).

    Ranks samples as the probability does, and still tells them apart where that is 1 to machine precision. Of more than
    two classes they are rounded to 1e-10, for what is equal must not be told apart by the order of a sum.
    """
    if logits.shape[1] == 2:  # the very difference: no rounding can change who comes first
        margin = logits[:, 1].astype(np.float64) - logits[:, 0]
        return np.stack((-margin, margin), axis=1)
    rows, top = np.arange(len(logits)), logits.argmax(1)
    inner = log_probabilities(logits)
    odds = inner - np.log1p(-np.exp(np.where(np.arange(logits.shape[1]) == top[:, None], -1.0, inner)))
    others = logits.astype(np.float64)
    others[rows, top] = -np.inf
    second = np.maximum(others.max(1), np.finfo(np.float64).min)  # of one class, or where the others are ruled out
    with np.errstate(divide="ignore"):
        rest = second + np.log(np.exp(others - second[:, None]).sum(1))
    odds[rows, top] = logits[rows, top] - rest  # 1 - p would round to 0
    return odds.round(10)


def log_likelihood(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """log softmax(z)[target] in nats: (N, K) and (N,) to (N,)."""
    shifted = _shifted(logits)
    return shifted[target, np.arange(len(target))] - np.log(np.exp(shifted).sum(0))


def calibration_gaps(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Each sample's confidence less its correctness, in the column of its confidence's bin; empty bins have none.

    The expected calibration error (15 bins, L1) is the sum over the bins of |mean over samples|. As torchmetrics
    has it, a bin holds its lower edge, and a confidence of exactly 1 has a bin of its own.

    Args:
        logits: (N, K).
        target: (N,) class numbers.

    Returns:
        (N, B), of 16 bins at most.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3.
    """
    found = probabilities(logits)
    confidence, correct = found.max(1), found.argmax(1) == target
    edges = np.linspace(0, 1, BINS + 1)
    place = np.searchsorted(edges, confidence, side="right") - 1
    bins, column = np.unique(np.minimum(place, BINS), return_inverse=True)
    gaps = np.zeros((len(target), len(bins)))
    gaps[np.arange(len(target)), column] = confidence - correct
    return gaps


def fit_temperature(logits: np.ndarray, target: np.ndarray) -> float:
    """The T > 0 with the least negative log-likelihood of softmax(z / T); to be fitted on validation.

    One number for all classes: accuracy, F1 and which class is named stay as they are. Whatever a network gains in NLL
    or calibration error beyond what T gives to the network that it is held against is more than a calibration.

    Args:
        logits: (N, K) of validation.
        target: (N,) class numbers.

    Returns:
        T between 0.02 and 50; small where validation has no mistake to learn from.

    Raises:
        ValueError: there are no samples.

    Source: Guo et al., ICML 2017, section 4.2.
    """
    if not len(target):
        raise ValueError("a temperature needs samples of validation to be fitted on")

    shifted = _shifted(logits)
    right = shifted[target, np.arange(len(target))].mean()

    def nll(log_temperature: float) -> float:
        temperature = np.exp(log_temperature)
        return float(np.log(np.exp(shifted / temperature).sum(0)).mean() - right / temperature)

    found = minimize_scalar(nll, bounds=(np.log(_LOWEST), np.log(_HIGHEST)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))
