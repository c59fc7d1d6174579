"""The network that a file of weights is for: that of a config section, or the changed student of a finished run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from kdistill import assemble
from kdistill.losses.simkd import SimKD
from kdistill.modules.deploy import change_student
from kdistill.runs import RunFolder


def network_for(
    weights: Path,
    section: DictConfig,
    kind: str,
    *,
    num_classes: int,
    image_shape: Sequence[int],
    allowed: Sequence[str] = (),
) -> nn.Module:
    """The network of `teacher` or `student` as a file of its weights fits it, with random weights.

    Where the file lies in the folder of a finished run whose loss changed its student (simkd), the network is changed
    in the same way.

    Args:
        weights: the file.
        section: the network's.
        kind: teacher or student.
        num_classes: K.
        image_shape: (C, H, W).
        allowed: packages that the run folder may name, besides torch's and our own.

    Raises:
        UserError: the run's teacher is not from a trusted package.
    """
    network = assemble.bare_network(section, kind, num_classes=num_classes, in_chans=image_shape[0])
    trained = _finished_run(weights)
    changing = [] if trained is None else [part for part in _sections(trained.loss) if part["_target_"] == _SIMKD]
    if trained is not None and changing:
        assemble.check_trusted(trained.teacher, list(allowed), weights)
        teacher = assemble.bare_network(trained.teacher, "teacher", num_classes=num_classes, in_chans=image_shape[0])
        change_student(
            {"simkd": assemble.build(OmegaConf.create(changing[0]), "loss")},
            network,
            teacher,
            image_shape,
            student_name=f"{kind}={assemble.label(section)}",
            teacher_name=f"teacher={assemble.label(trained.teacher)}",
        )
    return network


_SIMKD = f"{SimKD.__module__}.{SimKD.__qualname__}"


def _finished_run(weights: Path) -> DictConfig | None:
    """The config of the distill run that left a file of its student's weights; None where none did."""
    for path in (weights.parent, weights.parent.parent):  # the latter: of a checkpoint
        folder = RunFolder(path)
        if folder.finished and weights.name != folder.weights("teacher").name:
            config = folder.config()
            return config if config.get("role") == "distill" else None
    return None


def _sections(node: Any) -> Iterator[dict[str, Any]]:
    """The sections with a target in a config, inner ones too."""
    if OmegaConf.is_config(node):
        node = OmegaConf.to_container(node, resolve=True)
    if isinstance(node, dict) and "_target_" in node:
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _sections(inner)
