"""The names of networks, known without importing torch or timm, which takes a quarter of a minute."""

from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kdistill.base.spelling import did_you_mean

OWN = (
    "mnist_cnn", "mnist_mlp", "mnist_mlp2", "mnist_mid_cnn", "mnist_small_cnn",
    *(f"cifar_resnet{depth}" for depth in (8, 14, 20, 32, 44, 56, 110, "8x4", "32x4")),
    *(f"cifar_wrn_{depth_width}" for depth_width in ("16_1", "16_2", "40_1", "40_2")),
    "cifar_vgg8", "cifar_vgg13", "cifar_shufflenet_v1", "cifar_shufflenet_v2", "cifar_mobilenet_v2",
)  # fmt: skip
TIMM_NAMES = Path(__file__).with_name("timm_names.txt")  # timm's version, then a name a line
BUILDER = "kdistill.models.build.create_model"
_TIMMS_HUB = ("hf-hub:timm/", "hf_hub:timm/", "timm/")  # what may stand before a name of timm's
# Options of timm's that this program has its own key for, and what to write instead.
INSTEAD = {
    "pretrained": "leave it out and say weights=hub (timm's weights), or weights=<file>",
    "checkpoint_path": "leave it out and say weights=<file>",
    "features_only": "leave it out: a classifier is needed, and losses find its stages by themselves",
    "pretrained_cfg_overlay": "leave it out and say weights=<file>, mean=[...], std=[...]",
}


def timms_name(name: str) -> str:
    """A name without what the hub has before it: `hf-hub:timm/resnet18.a1_in1k` is `resnet18.a1_in1k`."""
    return next((name.removeprefix(before) for before in _TIMMS_HUB if name.startswith(before)), name)


def hint(name: str, timms: Sequence[str]) -> str:
    """What to write in place of a name that nobody knows."""
    if name.startswith(("hf-hub:", "hf_hub:")) or "/" in name:
        return (
            "of the hub only timm's own are taken by name ('hf-hub:timm/resnet18.a1_in1k' or 'resnet18.a1_in1k'). Of "
            "another's, download the folder, give the architecture that its config.json names as the name, and the "
            "folder as weights"
        )
    near = did_you_mean(name.lower().replace("-", "_"), [*OWN, *timms], cutoff=0.5)
    offered = near.removeprefix("; ") or "see timm.list_models()"
    return f"{offered} Own models: {', '.join(OWN)}. Of other packages: student=custom student._target_=..."


def name_problem(name: str) -> str | None:
    """Why no network can have a name; None where one has it, or where the installed timm is not that of the list."""
    known = _timms_names()
    if name in OWN or not known or timms_name(name).partition(".")[0] in known:
        return None
    return f"no model is called {name!r}; {hint(name, known)}"


@cache
def _timms_names() -> tuple[str, ...]:
    written, *names = TIMM_NAMES.read_text().split()
    try:
        return tuple(names) if version("timm") == written else ()
    except PackageNotFoundError:
        return ()
