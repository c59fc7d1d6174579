"""The networks that distillation is compared with on CIFAR-100, for images of 32 x 32: ResNet, WRN and VGG."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_STEM = 16  # channels of a Wide ResNet's first convolution
_VGG = (64, 128, 256, 512, 512)
_VGG_POOLS = 3  # after the first so many of its stages


def conv(channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size of the map but for its stride, without bias."""
    return nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)


def start_from_fan_out(network: nn.Module) -> None:
    """Draws the weights of all convolutions by He's rule over what goes out of them."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def head(channels: int, num_classes: int) -> list[nn.Module]:
    """The mean over the map, and a linear layer."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]


class BasicBlock(nn.Module):
    """Two convolutions of 3 x 3, and the input added before the last ReLU.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016.
    """

    def __init__(self, channels: int, out: int, *, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, out, 3, stride=stride),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            conv(out, out, 3),
            nn.BatchNorm2d(out),
        )
        same = stride == 1 and channels == out
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(conv(channels, out, 1, stride=stride), nn.BatchNorm2d(out))
        )
        self.activation = nn.ReLU()

    def forward(self, image: Tensor) -> Tensor:
        return self.activation(self.body(image) + self.shortcut(image))


class WideBlock(nn.Module):
    """BatchNorm and ReLU before each of two convolutions; where the width changes the shortcut starts after the first.

    Source: Zagoruyko and Komodakis, "Wide residual networks", BMVC 2016.
    """

    def __init__(self, channels: int, out: int, *, stride: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.body = nn.Sequential(
            conv(channels, out, 3, stride=stride), nn.BatchNorm2d(out), nn.ReLU(), conv(out, out, 3)
        )
        self.shortcut = None if channels == out else conv(channels, out, 1, stride=stride)

    def forward(self, image: Tensor) -> Tensor:
        ready = self.before(image)
        return self.body(ready) + (image if self.shortcut is None else self.shortcut(ready))


def _stages(
    block: type[BasicBlock] | type[WideBlock], channels: int, widths: Sequence[int], depth: int
) -> list[nn.Sequential]:
    """Stages of `depth` blocks; all but the first halve the map."""
    found = []
    for number, width in enumerate(widths):
        strides = [1 if number == 0 else 2] + [1] * (depth - 1)
        blocks = []
        for stride in strides:
            blocks.append(block(channels, width, stride=stride))
            channels = width
        found.append(nn.Sequential(*blocks))
    return found


class CifarResNet(nn.Sequential):
    """ResNet of 6 n + 2 layers: three stages of n basic blocks."""

    def __init__(
        self, *, num_classes: int = 100, in_chans: int = 3, depth: int = 20, widths: Sequence[int] = (16, 16, 32, 64)
    ) -> None:
        stem, *stages = widths
        super().__init__(
            nn.Sequential(conv(in_chans, stem, 3), nn.BatchNorm2d(stem), nn.ReLU()),
            *_stages(BasicBlock, stem, stages, (depth - 2) // 6),
            *head(stages[-1], num_classes),
        )
        start_from_fan_out(self)


class CifarWideResNet(nn.Sequential):
    """Wide ResNet of 6 n + 4 layers, k times as wide as a ResNet."""

    def __init__(self, *, num_classes: int = 100, in_chans: int = 3, depth: int = 40, width: int = 2) -> None:
        widths = [_STEM * width, 2 * _STEM * width, 4 * _STEM * width]
        super().__init__(
            conv(in_chans, _STEM, 3),
            *_stages(WideBlock, _STEM, widths, (depth - 4) // 6),
            nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU()),
            *head(widths[-1], num_classes),
        )
        start_from_fan_out(self)


class CifarVGG(nn.Sequential):
    """VGG with BatchNorm for 32 x 32: five stages, a pooling after each of the first three, one linear layer.

    Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.
    """

    def __init__(self, *, num_classes: int = 100, in_chans: int = 3, depths: Sequence[int] = (1, 1, 1, 1, 1)) -> None:
        layers: list[nn.Module] = []
        channels = in_chans
        for number, (width, depth) in enumerate(zip(_VGG, depths, strict=True)):
            stage: list[nn.Module] = []
            for _ in range(depth):
                stage += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers += [nn.Sequential(*stage), *([nn.MaxPool2d(2)] if number < _VGG_POOLS else [])]
        super().__init__(*layers, *head(channels, num_classes))
        start_from_fan_out(self)
        nn.init.normal_(self[-1].weight, std=0.01)  # type: ignore[arg-type]
        nn.init.zeros_(self[-1].bias)  # type: ignore[arg-type]


def shuffled(image: Tensor, groups: int) -> Tensor:
    """The channels of (N, C, H, W), one of each group in turn."""
    return image.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def joined(*maps: Tensor) -> Tensor:
    """Maps one after the other along the channels."""
    return torch.cat(maps, 1)
