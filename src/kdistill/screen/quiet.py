"""Warnings of libraries about themselves, which nobody who runs a command can do anything about."""

import logging
import re
import warnings

# Of libraries' own use of other libraries, by the module that warns; a person's own code still warns.
_LIBRARIES = r"(torch|torchvision|timm|torchmetrics|pytorch_lightning|lightning_\w+|hydra|omegaconf|matplotlib|fvcore|optuna|joblib|ray|submitit|wandb)(\.|$)"  # noqa: E501
# What is known and dealt with by us, by the start of the message.
_KNOWN = (
    "You are using `torch.load` with `weights_only=False`",
    "No negative samples in targets",
    "No positive samples in targets",
    "Average precision score for one or more classes was `nan`",
    "Encountered `nan` values in tensor. Will be removed",
    "The ``compute`` method of metric",
    "Checkpoint directory",  # of a run that goes on
)
_TALKATIVE = (
    "matplotlib", "matplotlib.font_manager", "fvcore", "filelock", "PIL", "urllib3", "graphviz", "httpx", "httpx2",
)  # fmt: skip


def settle_warnings() -> None:
    """Keeps them off the screen; errors, and warnings about what a person gave, stay."""
    for category in (FutureWarning, DeprecationWarning, PendingDeprecationWarning):
        warnings.filterwarnings("ignore", category=category, module=_LIBRARIES)
    for message in _KNOWN:
        warnings.filterwarnings("ignore", message=re.escape(message))
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # looks for CUDA's compiler, not needed here
