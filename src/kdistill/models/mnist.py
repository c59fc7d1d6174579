"""The networks of the two published MNIST results, and a small convolutional student."""

from torch import nn


class MnistCNN(nn.Sequential):
    """Teacher: two convolutions, two dense layers; 1,011,466 parameters and 21,875,456 FLOPs on (1, 28, 28).

    The first pooling has stride 1, which keeps the maps at 25 x 25 for the second convolution. ReLU comes after
    pooling: both are monotone, so the result is the same, and it runs on a quarter of the second map.
    """

    def __init__(self, *, num_classes: int = 10, in_chans: int = 1, dropout: float = 0.5) -> None:
        super().__init__(
            nn.Conv2d(in_chans, 32, 3),
            nn.MaxPool2d(2, stride=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3),
            nn.MaxPool2d(2, stride=2),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(64 * 11 * 11, 128),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(128, num_classes),
        )


class MnistMLP(nn.Sequential):
    """Student: fully connected, 784 units a layer.

    With one hidden layer 623,290 parameters (the published count), with two 2,474,304 FLOPs (the published 2.5e6).
    """

    def __init__(self, *, num_classes: int = 10, in_chans: int = 1, hidden_layers: int = 1, width: int = 784) -> None:
        pixels = in_chans * 28 * 28
        layers: list[nn.Module] = [nn.Flatten()]
        for layer in range(hidden_layers):
            layers += [nn.Linear(pixels if layer == 0 else width, width), nn.ReLU()]
        super().__init__(*layers, nn.Linear(width, num_classes))


class MnistSmallCNN(nn.Sequential):
    """A student that has feature maps: two narrow convolutions and a dense layer; 5,258 parameters."""

    def __init__(self, *, num_classes: int = 10, in_chans: int = 1, width: int = 8) -> None:
        super().__init__(
            nn.Conv2d(in_chans, width, 3),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * 5 * 5, num_classes),
        )
