"""A teacher that knows more classes than the run, or others: its network, answering for the run's by a class map."""

import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from torch import nn

from kdistill.base.class_map import ClassMap, Given, class_groups
from kdistill.base.errors import UserError
from kdistill.building.instantiate import network_label
from kdistill.building.networks import build_bare_network
from kdistill.models.class_groups import described, group_classes, recorded, teachers_names
from kdistill.models.head import head_names
from kdistill.models.state_files import read_state_file
from kdistill.models.state_fit import fit_state
from kdistill.models.weights import load_weights

log = logging.getLogger(__name__)


def mapped_network(
    weights: Path,
    section: DictConfig,
    given: Given,
    *,
    class_names: Sequence[str],
    image_shape: Sequence[int],
    known: Sequence[str] | None,
    load: bool,
) -> tuple[nn.Module, ClassMap]:
    """The teacher's network with the weights of a file, its classes summed into those of the run; and the map.

    Args:
        weights: the file.
        section: the teacher's.
        given: the map.
        class_names: the run's.
        image_shape: (C, H, W).
        known: the names of the teacher's classes; None where its weights do not say.
        load: whether the weights are read, else they are random; what is done is said only then.

    Raises:
        UserError: the map does not fit the classes, or the weights do not fit the network.
    """
    owner = f"teacher={network_label(section)}"
    say = log.info if load else log.debug
    count = len(known) if known is not None else _count(weights, section, class_names, image_shape, owner)
    aliases, origin = teachers_names(known, count)
    groups = class_groups(given, class_names, aliases, who=f"{owner} at {weights}")
    network = build_bare_network(section, "teacher", num_classes=count, image_shape=image_shape, trains=False, say=say)
    if load:
        load_weights(network, weights, owner=owner)
    group_classes(network, groups, image_shape, owner=owner)
    say(f"{owner}: {described(groups, class_names, aliases)}{origin}")
    return network, recorded(groups, class_names, aliases)


def _count(
    weights: Path, section: DictConfig, class_names: Sequence[str], image_shape: Sequence[int], owner: str
) -> int:
    """For how many classes the class head in a file is.

    Raises:
        UserError: the file has no class head.
    """
    network = build_bare_network(
        section, "teacher", num_classes=len(class_names), image_shape=image_shape, trains=False, say=log.debug
    )
    state = fit_state(read_state_file(weights), network).state
    for name in head_names(network):
        rows = next((state[key] for key in state if key.startswith(f"{name}.") and key.endswith("weight")), None)
        if rows is not None:
            return len(rows)
    raise UserError(
        f"{weights} has no class head of {owner}, so nothing says which classes it knows: give whole weights"
    )
