"""What a device file says of itself: input, classes, where it comes from; kept in the file and in its manifest."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from kdistill.base.bounded import read_json
from kdistill.base.errors import UserError
from kdistill.base.storage import write_json
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
        batch: pictures at a time; None: any number.
    """

    layout: Layout
    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = CENTRE_SQUARE
    value_range: tuple[float, float] | None = None
    batch: int | None = None

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

    @property
    def taken(self) -> tuple[int, ...]:
        """The shape of a picture in the file's own layout."""
        channels, height, width = self.input.shape
        return (height, width, channels) if self.input.layout == "nhwc" else (channels, height, width)

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


def changed(where: str) -> UserError:
    """What is raised of a file that takes or gives something else than it says."""
    return UserError(f"{where} takes or gives something else than it says: it was changed after its export")


def put_beside(path: Path, metadata: Mapping[str, str]) -> None:
    """Writes what a file says of itself beside it, where the format has no room."""
    write_json(_beside(path), metadata)


def facts_beside(path: Path) -> DeviceFacts:
    """What a file says of itself, where that lies beside it.

    Raises:
        UserError: there is nothing, or it is not kdistill's.
    """
    beside = _beside(path)
    try:
        metadata = read_json(beside)
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("text by name was expected")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{beside}, where {path.name} says what it is, can't be read ({error}): keep the two beside each other"
        ) from error
    return from_metadata(metadata, str(path))


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
