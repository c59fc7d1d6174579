"""A network by name: one of our own, or any that timm has."""

import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn

from kdistill.base.errors import UserError
from kdistill.base.network_names import INSTEAD, hint, timms_name
from kdistill.models.cifar import CifarResNet, CifarVGG, CifarWideResNet
from kdistill.models.cifar_mobile import CifarMobileNetV2, CifarShuffleNetV1, CifarShuffleNetV2
from kdistill.models.mnist import MnistCNN, MnistMLP, MnistSmallCNN

_WIDE = (32, 64, 128, 256)
_OWN: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "mnist_cnn": (MnistCNN, {}),
    "mnist_mlp": (MnistMLP, {"hidden_layers": 1}),
    "mnist_mlp2": (MnistMLP, {"hidden_layers": 2}),
    "mnist_mid_cnn": (MnistSmallCNN, {"width": 24}),
    "mnist_small_cnn": (MnistSmallCNN, {}),
    **{f"cifar_resnet{depth}": (CifarResNet, {"depth": depth}) for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{f"cifar_resnet{depth}x4": (CifarResNet, {"depth": depth, "widths": _WIDE}) for depth in (8, 32)},
    **{
        f"cifar_wrn_{depth}_{width}": (CifarWideResNet, {"depth": depth, "width": width})
        for depth, width in ((16, 1), (16, 2), (40, 1), (40, 2))
    },
    "cifar_vgg8": (CifarVGG, {}),
    "cifar_vgg13": (CifarVGG, {"depths": (2, 2, 2, 2, 2)}),
    "cifar_shufflenet_v1": (CifarShuffleNetV1, {}),
    "cifar_shufflenet_v2": (CifarShuffleNetV2, {}),
    "cifar_mobilenet_v2": (CifarMobileNetV2, {}),
}


def create_model(
    name: str, *, num_classes: int, in_chans: int, img_size: int | Sequence[int] | None = None, **options: Any
) -> nn.Module:
    """Makes a network with random weights.

    Args:
        name: one of our own (`mnist_cnn`, `cifar_resnet8x4`; `base.network_names.OWN` has them all), or a name that
            timm knows, with or without the tag of its weights (`resnet50.a1_in1k`) or `timm/` before it.
        num_classes: size of the output.
        in_chans: channels of the input.
        img_size: of the images, one number where they are square; None: the network's own. What runs on images of any
            size does not need it.
        options: arguments of the own network or of `timm.create_model`.

    Returns:
        A network from (N, in_chans, H, W) to (N, num_classes).

    Raises:
        UserError: nobody knows the name, or the network does not take an option.
    """
    for option in INSTEAD:
        if options.get(option):
            raise UserError(f"model {name!r}: {option}={options[option]} is not taken: {INSTEAD[option]}")
    sizes = {"num_classes": num_classes, "in_chans": in_chans}
    try:
        if name in _OWN:
            network, own_options = _OWN[name]
            is_sized = img_size is not None and network.__module__ == MnistCNN.__module__  # others take any size
            return network(**sizes, **{"img_size": img_size} if is_sized else {}, **{**own_options, **options})
        return _timm_model(name, img_size, **sizes, **options)
    except TypeError as error:
        raise UserError(f"model {name!r} does not take these options {options}: {error}") from error


def _timm_model(name: str, img_size: int | Sequence[int] | None, **options: Any) -> nn.Module:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated")
        import timm  # 13 s to import: only when one of its models is asked for

    timm_name = timms_name(name)
    if not timm.is_model(timm_name):
        raise UserError(f"no model is called {name!r}; {hint(name, timm.list_models())}")
    bare, _, tag = timm_name.partition(".")
    if tag and timm_name not in (models := timm.list_pretrained(f"{bare}.*")):
        tags = ", ".join(model.partition(".")[2] for model in models) or "none"
        raise UserError(f"timm's {bare} has no weights called {tag!r}; it has {tags}. Without a tag: {bare!r}")
    known_size = timm.get_pretrained_cfg(timm_name)
    sides = [img_size] * 2 if isinstance(img_size, int) else img_size
    if sides and known_size and known_size.fixed_input_size and list(known_size.input_size[1:]) != list(sides):
        options["img_size"] = img_size
    return timm.create_model(timm_name, **options)
