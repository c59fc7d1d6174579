"""The peers of a run that learns mutually: built like students, each with a loss of its own, and what they came to."""

from collections.abc import Sequence
from dataclasses import replace

from omegaconf import DictConfig

from kdistill.building.instantiate import network_label
from kdistill.building.losses import build_loss
from kdistill.building.networks import build_network, input_normalisation
from kdistill.config.specs import NetworkSpec
from kdistill.data.module import ArrayDataModule
from kdistill.measuring.cost import count_cost
from kdistill.models.weights import fingerprint
from kdistill.modules.options import ModuleOptions
from kdistill.modules.predictions import figures, predict
from kdistill.modules.student import StudentModule
from kdistill.runs.record import PeerFacts


def build_peers(config: DictConfig, data: ArrayDataModule, options: ModuleOptions) -> list[StudentModule]:
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
        network = build_network(section, "student", data)
        mean, std = input_normalisation(section, network, arrays)
        own = replace(
            options,
            mean=mean,
            std=std,
            loss=build_loss(config.loss, arrays.class_counts, len(arrays.train), arrays.annotators),
            backbone_lr=NetworkSpec.of(section).backbone_lr,
        )
        peers.append(StudentModule(network, **vars(own)))
    return peers


def peer_facts(
    config: DictConfig, peers: Sequence[StudentModule], data: ArrayDataModule, device: str
) -> tuple[PeerFacts, ...]:
    """What the peers came to at the student's best epoch."""
    return tuple(
        PeerFacts(
            label=network_label(section),
            fingerprint=fingerprint(peer.network),
            val=figures(predict(peer, data.val_dataloader(), data, device)),
            test=figures(predict(peer, data.test_dataloader(), data, device)),
            cost=count_cost(peer.network, data.arrays.image_shape, device=device),
        )
        for section, peer in zip(config.peers, peers, strict=True)
    )
