"""The weighted loss of a config."""

from collections.abc import Sequence

from omegaconf import DictConfig

from kdistill.building.instantiate import build
from kdistill.losses.base import WeightedSum
from kdistill.losses.logit import CrossEntropy


def build_loss(
    section: DictConfig,
    class_counts: Sequence[int] | None = None,
    num_samples: int | None = None,
    annotators: int | None = None,
) -> WeightedSum:
    """alpha times the section's loss plus 1 - alpha times cross-entropy; without alpha, the loss alone.

    With `gather` several processes see each batch as a whole, where the loss needs it.
    """
    loss = build(section, "loss", class_counts=class_counts, num_samples=num_samples, annotators=annotators)
    name = type(loss).__name__.lower() if not isinstance(loss, CrossEntropy) else "ce"
    gather = bool(section.get("gather"))
    if "alpha" not in section:
        return WeightedSum({name: loss}, {name: 1.0}, gather=gather)
    ce = build(section.ce, "loss", class_counts=class_counts) if "ce" in section else CrossEntropy()
    return WeightedSum({"ce": ce, name: loss}, {"ce": 1.0 - section.alpha, name: section.alpha}, gather=gather)
