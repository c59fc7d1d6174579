"""Which callbacks look at single optimizer steps.

A call of `training_step` takes several where the images are small. A callback of one's own that does not mind says
`takes_several_steps = True` in its class.
"""

from collections.abc import Sequence

from pytorch_lightning.callbacks import (
    Callback,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
)

_BY_STEP = ("on_train_batch_start", "on_train_batch_end", "on_before_zero_grad")  # not called for each step of a call


def who_looks_at_steps(callbacks: Sequence[Callback]) -> list[str]:
    """The classes of those callbacks that expect one optimizer step a call, such as an average of the weights."""
    return [type(callback).__name__ for callback in callbacks if _looks_at_steps(callback)]


def _looks_at_steps(callback: Callback) -> bool:
    if getattr(callback, "takes_several_steps", False):
        return False
    if isinstance(callback, ModelCheckpoint):
        return callback._every_n_train_steps > 0
    if isinstance(callback, LearningRateMonitor):
        return callback.logging_interval != "epoch"
    if isinstance(callback, GradientAccumulationScheduler | StochasticWeightAveraging):
        return True  # they rest on Lightning's automatic optimization
    own = {name: getattr(callback, name) for name in _BY_STEP}
    return any(getattr(hook, "__func__", hook) is not getattr(Callback, name) for name, hook in own.items())
