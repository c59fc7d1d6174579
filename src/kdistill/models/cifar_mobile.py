"""The small networks that distillation is compared with on CIFAR-100: ShuffleNet V1 and V2, MobileNetV2."""

from torch import Tensor, nn

from kdistill.models.cifar import conv, head, joined, shuffled, start_from_fan_out

_STEM = 24  # channels of a ShuffleNet's first convolution


def _point(channels: int, out: int, *, groups: int = 1, active: bool = True) -> list[nn.Module]:
    """A convolution of 1 x 1 with BatchNorm, and ReLU unless not `active`."""
    return [conv(channels, out, 1, groups=groups), nn.BatchNorm2d(out), *([nn.ReLU()] if active else [])]


def _depth(channels: int, *, stride: int, active: bool) -> list[nn.Module]:
    """A convolution of 3 x 3 for each channel with BatchNorm, and ReLU if `active`."""
    layers = [conv(channels, channels, 3, stride=stride, groups=channels), nn.BatchNorm2d(channels)]
    return [*layers, *([nn.ReLU()] if active else [])]


class _ShuffleV1(nn.Module):
    """Grouped 1 x 1, shuffle, 3 x 3 by channel, grouped 1 x 1; the input is added, or joined to a halved map."""

    def __init__(self, channels: int, out: int, *, stride: int, groups: int) -> None:
        super().__init__()
        inner, self.groups = out // 4, 1 if channels == _STEM else groups
        self.reduce = nn.Sequential(*_point(channels, inner, groups=self.groups))
        self.expand = nn.Sequential(
            *_depth(inner, stride=stride, active=True), *_point(inner, out, groups=groups, active=False)
        )
        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None
        self.activation = nn.ReLU()

    def forward(self, image: Tensor) -> Tensor:
        made = self.expand(shuffled(self.reduce(image), self.groups))
        return self.activation(made + image if self.pool is None else joined(made, self.pool(image)))


class CifarShuffleNetV1(nn.Sequential):
    """ShuffleNet of three groups, 240 to 960 channels.

    Source: Zhang et al., "ShuffleNet: an extremely efficient convolutional neural network for mobile devices", CVPR
    2018.
    """

    def __init__(self, *, num_classes: int = 100, in_chans: int = 3, groups: int = 3) -> None:
        channels, stages = _STEM, []
        for out, depth in ((240, 4), (480, 8), (960, 4)):
            first = _ShuffleV1(channels, out - channels, stride=2, groups=groups)
            rest = [_ShuffleV1(out, out, stride=1, groups=groups) for _ in range(depth - 1)]
            stages.append(nn.Sequential(first, *rest))
            channels = out
        super().__init__(nn.Sequential(*_point(in_chans, _STEM)), *stages, *head(channels, num_classes))


class _ShuffleV2(nn.Module):
    """One half of the channels goes through three convolutions; then both are joined and shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.body = nn.Sequential(*_point(half, half), *_depth(half, stride=1, active=False), *_point(half, half))

    def forward(self, image: Tensor) -> Tensor:
        kept, changed = image.chunk(2, dim=1)
        return shuffled(joined(kept, self.body(changed)), 2)


class _ShuffleV2Down(nn.Module):
    """Both ways see all channels, and halve the map."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        half = out // 2
        self.left = nn.Sequential(*_depth(channels, stride=2, active=False), *_point(channels, half))
        self.right = nn.Sequential(*_point(channels, half), *_depth(half, stride=2, active=False), *_point(half, half))

    def forward(self, image: Tensor) -> Tensor:
        return shuffled(joined(self.left(image), self.right(image)), 2)


class CifarShuffleNetV2(nn.Sequential):
    """ShuffleNet V2 of width 1.

    Source: Ma et al., "ShuffleNet V2: practical guidelines for efficient CNN architecture design", ECCV 2018.
    """

    def __init__(self, *, num_classes: int = 100, in_chans: int = 3) -> None:
        channels, stages = _STEM, []
        for out, depth in ((116, 3), (232, 7), (464, 3)):
            stages.append(nn.Sequential(_ShuffleV2Down(channels, out), *(_ShuffleV2(out) for _ in range(depth))))
            channels = out
        super().__init__(
            nn.Sequential(*_point(in_chans, _STEM)),
            *stages,
            nn.Sequential(*_point(channels, 1024)),
            *head(1024, num_classes),
        )


class _Inverted(nn.Module):
    """1 x 1 to more channels, 3 x 3 by channel, 1 x 1 to few; the input is added where sizes are alike."""

    def __init__(self, channels: int, out: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.body = nn.Sequential(
            *_point(channels, inner), *_depth(inner, stride=stride, active=True), *_point(inner, out, active=False)
        )
        self.adds = stride == 1 and channels == out

    def forward(self, image: Tensor) -> Tensor:
        return image + self.body(image) if self.adds else self.body(image)


class CifarMobileNetV2(nn.Sequential):
    """MobileNetV2 of half its width.

    Source: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018.
    """

    def __init__(
        self, *, num_classes: int = 100, in_chans: int = 3, width: float = 0.5, expansion: int = 6, last: int = 1280
    ) -> None:
        channels = int(32 * width)
        stages: list[nn.Module] = [
            nn.Sequential(conv(in_chans, channels, 3, stride=2), nn.BatchNorm2d(channels), nn.ReLU())
        ]
        settings = (
            (1, 16, 1, 1), (expansion, 24, 2, 1), (expansion, 32, 3, 2), (expansion, 64, 4, 2), (expansion, 96, 3, 1),
            (expansion, 160, 3, 2), (expansion, 320, 1, 1),
        )  # fmt: skip
        for times, full, depth, stride in settings:
            out, blocks = int(full * width), []
            for number in range(depth):
                blocks.append(_Inverted(channels, out, stride=stride if number == 0 else 1, expansion=times))
                channels = out
            stages.append(nn.Sequential(*blocks))
        super().__init__(*stages, nn.Sequential(*_point(channels, last)), *head(last, num_classes))
        start_from_fan_out(self)
        nn.init.normal_(self[-1].weight, std=0.01)  # type: ignore[arg-type]
        nn.init.zeros_(self[-1].bias)  # type: ignore[arg-type]
