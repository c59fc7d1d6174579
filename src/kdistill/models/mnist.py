"""The networks of the two published MNIST results, and a small convolutional student, for images of any size."""

from collections.abc import Callable, Sequence
from math import prod

from torch import nn


def _pixels(img_size: int | Sequence[int], side: Callable[[int], int]) -> int:
    """Positions of a map of an image of (H, W), or of a square one.

    Args:
        img_size: of the image.
        side: from the image's height or width to the map's.

    Raises:
        ValueError: nothing is left of the image.
    """
    sides = [img_size, img_size] if isinstance(img_size, int) else list(img_size)
    if min(map(side, sides)) < 1:
        raise ValueError(f"images of {sides[0]} x {sides[1]} are too small for this network")
    return prod(map(side, sides))


class MnistCNN(nn.Sequential):
    """Teacher: two convolutions, two dense layers; 1,011,466 parameters and 21,875,456 FLOPs on (1, 28, 28).

    The first pooling has stride 1, which keeps the maps at 25 x 25 for the second convolution. ReLU comes after
    pooling: both are monotone, so the result is the same, and it runs on a quarter of the second map.
    """

    def __init__(
        self, *, num_classes: int = 10, in_chans: int = 1, img_size: int | Sequence[int] = 28, dropout: float = 0.5
    ) -> None:
        positions = _pixels(img_size, lambda side: (side - 2 - 1 - 2) // 2)
        super().__init__(
            nn.Conv2d(in_chans, 32, 3),
            nn.MaxPool2d(2, stride=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3),
            nn.MaxPool2d(2, stride=2),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(64 * positions, 128),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(128, num_classes),
        )


class MnistMLP(nn.Sequential):
    """Student: fully connected, 784 units a layer.

    With one hidden layer 623,290 parameters (the published count), with two 2,474,304 FLOPs (the published 2.5e6).
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_chans: int = 1,
        img_size: int | Sequence[int] = 28,
        hidden_layers: int = 1,
        width: int = 784,
    ) -> None:
        pixels = in_chans * _pixels(img_size, lambda side: side)
        layers: list[nn.Module] = [nn.Flatten()]
        for layer in range(hidden_layers):
            layers += [nn.Linear(pixels if layer == 0 else width, width), nn.ReLU()]
        super().__init__(*layers, nn.Linear(width, num_classes))


class MnistSmallCNN(nn.Sequential):
    """A student that has feature maps: two narrow convolutions and a dense layer; 5,258 parameters."""

    def __init__(
        self, *, num_classes: int = 10, in_chans: int = 1, img_size: int | Sequence[int] = 28, width: int = 8
    ) -> None:
        positions = _pixels(img_size, lambda side: ((side - 2) // 2 - 2) // 2)
        super().__init__(
            nn.Conv2d(in_chans, width, 3),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * positions, num_classes),
        )
