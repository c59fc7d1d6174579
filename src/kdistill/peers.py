"""The peers of a run that learns mutually: built like students, each with a loss of its own, and what they came to."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

from kdistill import assemble
from kdistill.cost import count_cost
from kdistill.data.module import ArrayDataModule
from kdistill.errors import UserError
from kdistill.evaluation import figures, predict
from kdistill.losses.base import WeightedSum
from kdistill.losses.changes import BothHeads
from kdistill.models.weights import fingerprint
from kdistill.modules.student import StudentModule


def build_peers(config: DictConfig, data: ArrayDataModule, options: dict[str, Any]) -> list[StudentModule]:
    """The networks of `peers` as training starts.

    Equal sections start from unlike weights: they are drawn one after another from the run's seed, the student's first.

    Args:
        config: the run's config.
        data: the run's data.
        options: those of the student's module; its own weights, normalisation and loss replace some.

    Raises:
        UserError: a network can't be had.
    """
    arrays, peers = data.arrays, []
    for section in config.peers:
        network = assemble.network(section, "student", data)
        mean, std = assemble.normalisation(section, network, arrays)
        own = {
            "mean": mean,
            "std": std,
            "loss": assemble.weighted_loss(config.loss, arrays.class_counts, len(arrays.train), arrays.annotators),
            "backbone_lr": section.get("backbone_lr", 1.0),
        }
        peers.append(StudentModule(network, **{**options, **own}))
    return peers


def check_loss(loss: WeightedSum) -> None:
    """Refuses a loss with a part that must know the shapes of layers, or names layers, or wants more than logits.

    Raises:
        UserError: naming the part.
    """
    for name, part in loss.parts.items():
        if callable(getattr(part, "bind", None)) or hasattr(part, "teacher_layers"):
            raise UserError(f"peers learn from each other's logits, and loss {name} looks at layers: choose loss=kd")
        if getattr(part, "views", 1) > 1:
            raise UserError(f"peers learn from one view of an image, and loss {name} looks at two: choose loss=kd")
        if isinstance(getattr(part, "changes_student", None), BothHeads):
            raise UserError(
                f"peers learn from each other with the head that answers, and loss {name} teaches a distillation head: "
                "loss.token=false, or choose loss=kd"
            )


def peer_facts(
    config: DictConfig, peers: Sequence[StudentModule], data: ArrayDataModule, device: str
) -> list[dict[str, Any]]:
    """label, fingerprint, val, test, cost of each peer at the student's best epoch, as `summary.json` holds them."""
    return [
        {
            "label": assemble.label(section),
            "fingerprint": fingerprint(peer.network),
            "val": figures(predict(peer, data.val_dataloader(), data, device)),
            "test": figures(predict(peer, data.test_dataloader(), data, device)),
            "cost": count_cost(peer.network, data.arrays.image_shape, device=device),
        }
        for section, peer in zip(config.peers, peers, strict=True)
    ]
