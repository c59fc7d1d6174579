"""What W&B shows of a finished run beside its curves, from what the run's folder holds: charts, images, tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import wandb

from kdistill.evidence.calibration import log_odds
from kdistill.reporting.mistakes import described, kept_mistakes
from kdistill.reporting.rates import confusion, kinds, mean_precision, mean_roc, precision_recall, reliability, roc
from kdistill.reporting.screen import result_columns, result_rows
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import RunRecord

_POINTS = 200  # of a curve; W&B draws tables of up to 10,000 rows
_MOST_CURVES = 12  # classes with a curve of their own
_MOST_CLASSES = 60  # of a confusion matrix; beyond, the pairs that are confused most
_MOST_PAIRS = 20
_MOST_IMAGES = 24
_BESIDE = "accuracy"  # the validation curve that is drawn with the teacher's line

Curve = tuple[np.ndarray, np.ndarray]


def media(folder: RunFolder, record: RunRecord) -> dict[str, object]:
    """Everything by W&B's key, to be logged at once."""
    test, names = folder.read_predictions("test", record), record.data.class_names
    target, own = test["target"], "teacher" if record.role == "teacher" else "student"
    arms = {own: test["logits"]} | ({"teacher": test["teacher_logits"]} if "teacher_logits" in test else {})
    found = {
        "final_table": wandb.Table(columns=result_columns(), data=result_rows(record)),
        "charts/roc": _areas(roc_curves(arms, target, names), "false positive rate", "true positive rate", "ROC, test"),
        "charts/precision_recall": _areas(
            precision_recall_curves(arms, target, names), "recall", "precision", "precision and recall, test"
        ),
        "charts/reliability": _lines(reliability_curves(arms, target), "confidence", "reliability (accuracy), test"),
        f"charts/val_{_BESIDE}": _lines(beside_the_teacher(folder.curves(), record), "epoch", f"val/{_BESIDE}"),
        "mistakes": _images(folder, record, test, names),
        **{f"charts/{arm}_confusion": _confusion(logits, target, names, arm) for arm, logits in arms.items()},
    }
    return {key: value for key, value in found.items() if value is not None}


def thinned(x: np.ndarray, y: np.ndarray, most: int = _POINTS) -> Curve:
    """So many points of a curve, evenly spaced along its way, both ends among them.

    Args:
        x, y: (T,) each.
        most: at least 2.

    Returns:
        Two (M,), M at most `most`; each a point of the curve.
    """
    if len(x) <= most:
        return x, y
    way = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    places = np.unique(np.searchsorted(way, np.linspace(0, way[-1], most)))
    places[-1] = len(x) - 1
    return x[places], y[places]


def roc_curves(arms: Mapping[str, np.ndarray], target: np.ndarray, names: Sequence[str]) -> dict[str, Curve]:
    """ROC by what it is of: each network's (of the second of two classes, else the mean over the classes), and of up
    to 12 classes the first network's for each.

    Args:
        arms: logits (N, K) by network.
        target: (N,) class numbers.
        names: K.
    """
    grid = np.linspace(0, 1, _POINTS)
    return _curves(arms, target, names, lambda samples: (grid, mean_roc(samples, grid)), roc)


def precision_recall_curves(
    arms: Mapping[str, np.ndarray], target: np.ndarray, names: Sequence[str]
) -> dict[str, Curve]:
    """Recall and precision; as `roc_curves`."""
    grid = np.linspace(0, 1, _POINTS)
    return _curves(arms, target, names, lambda samples: (grid, mean_precision(samples, grid)), precision_recall)


def _curves(
    arms: Mapping[str, np.ndarray], target: np.ndarray, names: Sequence[str], mean: Any, of_one: Any
) -> dict[str, Curve]:
    found: dict[str, Curve] = {}
    for arm, logits in arms.items():
        samples = kinds(logits, target, "binary" if len(names) == 2 else "macro")
        if len(samples) == 1:
            found[arm] = thinned(*of_one(*samples[0]))
        elif samples:
            found[f"{arm}, mean of the classes"] = mean(samples)
    if 2 < len(names) <= _MOST_CURVES:
        first, logits = next(iter(arms.items()))
        scores, counts = log_odds(logits), np.bincount(target, minlength=len(names))
        for k in np.flatnonzero((counts > 0) & (counts < len(target))).tolist():
            found[f"{first}, {names[k]}"] = thinned(*of_one(scores[:, k], target == k))
    return found


def reliability_curves(arms: Mapping[str, np.ndarray], target: np.ndarray) -> dict[str, Curve]:
    """Mean confidence and accuracy of each bin of confidence, by network; the diagonal is what honesty would be."""
    diagonal = np.array([0.0, 1.0])
    return {"honest": (diagonal, diagonal)} | {arm: reliability(logits, target) for arm, logits in arms.items()}


def beside_the_teacher(rows: Sequence[Mapping[str, str]], record: RunRecord) -> dict[str, Curve]:
    """A student's validation curve by epoch and its teacher's level line; nothing where there is no teacher.

    Args:
        rows: of metrics.csv.
        record: the run's.
    """
    if record.teacher is None or record.teacher.val is None:
        return {}
    points = [(int(row["epoch"]), float(row[f"val/{_BESIDE}"])) for row in rows if row.get(f"val/{_BESIDE}")]
    epochs, values = np.array(points, dtype=float).reshape(-1, 2).T
    level = np.full(len(epochs), record.teacher.val[_BESIDE])
    return {"student": (epochs, values), "teacher": (epochs, level)}


def _areas(curves: Mapping[str, Curve], x: str, y: str, title: str) -> Any:
    """A chart as of `wandb.plot.roc_curve`, which would need scikit-learn and pandas."""
    rows = [
        [name, float(a), float(b)] for name, curve in curves.items() for a, b in zip(*np.round(curve, 5), strict=True)
    ]
    return wandb.plot_table(
        "wandb/area-under-curve/v0",
        wandb.Table(columns=["class", x, y], data=rows),
        fields={"x": x, "y": y, "class": "class"},
        string_fields={"title": title, "x-axis-title": x, "y-axis-title": y},
    )


def _lines(curves: Mapping[str, Curve], x: str, title: str) -> Any:
    shown = {name: curve for name, curve in curves.items() if len(curve[0])}
    if not shown:
        return None
    xs, ys = ([curve[side].tolist() for curve in shown.values()] for side in (0, 1))
    return wandb.plot.line_series(xs, ys, keys=list(shown), title=title, xname=x)


def _confusion(logits: np.ndarray, target: np.ndarray, names: Sequence[str], arm: str) -> Any:
    if len(names) <= _MOST_CLASSES:
        named = logits.argmax(1).tolist()
        return wandb.plot.confusion_matrix(
            y_true=target.tolist(), preds=named, class_names=names, title=f"confusion of the {arm}, test"
        )
    wrong = confusion(logits, target)
    np.fill_diagonal(wrong, 0)
    places = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    rows = [[names[n], names[k], int(wrong[n, k])] for n, k in zip(*np.unravel_index(places, wrong.shape), strict=True)]
    return wandb.Table(columns=["true", "named", "samples"], data=[row for row in rows if row[2]])


def _images(folder: RunFolder, record: RunRecord, test: Mapping[str, np.ndarray], names: Sequence[str]) -> Any:
    if not folder.mistakes.is_file():
        return None
    shown = kept_mistakes(folder, record, test)[:_MOST_IMAGES]
    images = [
        _image(image, f"test image {int(test['index'][place])}", described(test, place, names))
        for place, image in shown
    ]
    return images or None


def _image(image: np.ndarray, number: str, said: Sequence[str]) -> Any:
    """(C, H, W) uint8 of 1 or 3 channels, as W&B takes it."""
    pixels = image[0] if len(image) == 1 else np.moveaxis(image[:3], 0, -1)
    return wandb.Image(pixels, caption="\n".join([number, *said]))
