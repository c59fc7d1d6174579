"""A network by name: one of our own, or any that timm has."""

import difflib
import warnings
from typing import Any

from torch import nn

from kdistill.errors import UserError
from kdistill.models.mnist import MnistCNN, MnistMLP, MnistSmallCNN

_OWN: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "mnist_cnn": (MnistCNN, {}),
    "mnist_mlp": (MnistMLP, {"hidden_layers": 1}),
    "mnist_mlp2": (MnistMLP, {"hidden_layers": 2}),
    "mnist_mid_cnn": (MnistSmallCNN, {"width": 24}),
    "mnist_small_cnn": (MnistSmallCNN, {}),
}


def create_model(name: str, *, num_classes: int, in_chans: int, **options: Any) -> nn.Module:
    """Makes a network with random weights.

    Args:
        name: `mnist_cnn`, `mnist_mlp`, `mnist_mlp2`, `mnist_mid_cnn`, `mnist_small_cnn`, or a name that timm knows.
        num_classes: size of the output.
        in_chans: channels of the input.
        options: arguments of the own network or of `timm.create_model`.

    Returns:
        A network from (N, in_chans, H, W) to (N, num_classes).

    Raises:
        UserError: nobody knows the name, or the network does not take an option.
    """
    try:
        if name in _OWN:
            network, own_options = _OWN[name]
            return network(num_classes=num_classes, in_chans=in_chans, **{**own_options, **options})
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated")
            import timm  # 13 s to import: only when one of its models is asked for

        if not timm.is_model(name):
            known = [*_OWN, *timm.list_models()]
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "see timm.list_models()"
            raise UserError(f"no model is called {name!r}; {hint} Own models: {', '.join(_OWN)}")
        return timm.create_model(name, num_classes=num_classes, in_chans=in_chans, **options)
    except TypeError as error:
        raise UserError(f"model {name!r} does not take these options {options}: {error}") from error
