"""What comes after a teacher that is trained first: how long it may take, for the time left of the whole command."""

from omegaconf import DictConfig
from torch import nn

from kdistill.building.instantiate import network_label
from kdistill.config.trainer_arguments import epochs_of
from kdistill.data.module import ArrayDataModule
from kdistill.screen.progress import progress
from kdistill.training.compute_mode import ComputeMode, epoch_seconds

_FORWARD = 1 / 3  # of a training step: the backward pass takes twice as long


def expect_student(
    config: DictConfig, network: nn.Module, data: ArrayDataModule, mode: ComputeMode, device: str
) -> None:
    """Expects the teacher's answers and the student's training, before the teacher is trained.

    Args:
        config: the run's.
        network: the student, as training starts; it is not changed.
        data: the run's.
        mode: how the student will be trained.
        device: on which.
    """
    shown = data.views_shown(epochs_of(config))
    asked = len(set(shown)) if config.replay.teacher != "off" else len(shown)
    images = asked * len(data.arrays.train)
    training = epochs_of(config) * epoch_seconds(network, mode, data, device)

    def answers() -> float | None:
        pace = progress().pace(f"teacher {network_label(config.teacher)}")  # known once it is being trained
        return None if pace is None else images * pace * _FORWARD

    progress().expect("training", lambda: training)
    progress().expect("answers", answers)
