"""What a device file says of itself: input, classes, where it comes from; kept in the file and in its manifest."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from kdistill.base.errors import UserError
from kdistill.runs.record import RunRecord

Layout = Literal["nchw", "nhwc"]
CENTRE_SQUARE = "turned as EXIF says, over white, centre square, Pillow's bicubic filter"
OWN = "made as the run's own data set makes its arrays"
_LONGEST = 1_000_000  # characters of one entry


@dataclass(frozen=True)
class DeviceInput:
    """The pictures that a file takes: uint8.

    Attributes:
        layout: nchw is (N, C, H, W), nhwc is (N, H, W, C).
        channels: C; 3 are red, green, blue.
        height: H; `width` likewise.
        mean: by channel, of pixels scaled to 0..1; `std` likewise. What is inside the file, and for the curious.
        resize: how a picture of another size becomes one of H x W.
        value_range: what becomes 0 and 255 in grey pictures of more than 8 bits; None where training saw none.
    """

    layout: Layout
    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = CENTRE_SQUARE
    value_range: tuple[float, float] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W), whatever the layout."""
        return self.channels, self.height, self.width


def input_of(record: RunRecord, layout: Layout) -> DeviceInput:
    """What a device file of a run takes."""
    channels, height, width = record.data.image_shape
    return DeviceInput(
        layout,
        channels,
        height,
        width,
        record.input.mean,
        record.input.std,
        resize=CENTRE_SQUARE if height == width and channels in (1, 3) else OWN,
        value_range=record.data.value_range,
    )


@dataclass(frozen=True)
class DeviceFacts:
    """A device file.

    Attributes:
        format: onnx, onnx_int8, ...
        label: what people call the network.
        run: the folder's name; `fingerprint` is that of its weights.
        classes: by number.
        input: what it takes.
        threshold: of two classes, above which probability of the second it is named; None: the likelier one is.
        verdict: passes, fails, inconclusive, or untested.
        metrics: test figures of the file, in its own runtime; of a run those of its float network.
        versions: of what it was made with.
    """

    format: str
    label: str
    run: str
    fingerprint: str
    classes: tuple[str, ...]
    input: DeviceInput
    threshold: float | None = None
    verdict: str = "untested"
    metrics: dict[str, float | None] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def as_metadata(self) -> dict[str, str]:
        """Each attribute as JSON, as files keep text by name."""
        return {name: json.dumps(value) for name, value in asdict(self).items()}


def from_metadata(metadata: Mapping[str, str], where: str) -> DeviceFacts:
    """What a file says of itself.

    Args:
        metadata: text by name; further names are another's.
        where: the file, for the message.

    Raises:
        UserError: it is no file of kdistill's.
    """
    from pydantic import TypeAdapter, ValidationError  # .2 s, which --help need not wait for

    names = DeviceFacts.__dataclass_fields__
    try:
        given: dict[str, Any] = {
            name: json.loads(text) for name, text in metadata.items() if name in names and len(text) < _LONGEST
        }
        return TypeAdapter(DeviceFacts).validate_python(given)
    except (ValidationError, ValueError, RecursionError) as error:
        raise UserError(
            f"{where} does not say what it takes and what its classes are: it was not made by kdistill.export; give "
            "a file of an export folder, or the run's folder"
        ) from error
