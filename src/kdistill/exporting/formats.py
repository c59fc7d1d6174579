"""What a device format is: it writes a file, and runs it."""

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from kdistill.base.errors import UserError
from kdistill.base.packages import how_to_install

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch import Tensor, nn

    from kdistill.exporting.facts import DeviceFacts
    from kdistill.exporting.judge import Judge
    from kdistill.exporting.manifest import Quantisation

INPUT, OUTPUTS = "image", ("probabilities", "logits")


class Session(Protocol):
    """A file in its own runtime."""

    def run(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (N, K) and logits (N, K), float32, of uint8 pictures in the file's own layout."""


@dataclass(frozen=True)
class Source:
    """What a file is made from.

    Attributes:
        network: takes uint8 pictures, gives probabilities and logits; in eval mode, on the CPU.
        sample: two pictures.
        calibration: (n, ...) pictures of the training partition, for formats that round; else none.
        judge: validation, for formats that choose how to round; None: nothing is chosen.
        ranges: of what goes into each layer, lowest and highest, by the layer's name: of a network that has learned
            to do with 8 bits; else none.
        made: what one format has made and another can use, by name.
    """

    network: "nn.Module"
    sample: "Tensor"
    calibration: np.ndarray
    judge: "Judge | None" = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    made: dict[str, bytes] = field(default_factory=dict)


class FileSession(Session, Protocol):
    """A file in its own runtime that says itself what it is: `kdistill.load` needs nothing else."""

    def facts(self) -> "DeviceFacts":
        """What the file says of itself.

        Raises:
            UserError: nothing that kdistill wrote, or it is not what the file takes.
        """


class Format(ABC):
    """One kind of file. A new one is a class like this in `exporting/` and a yaml in `conf/format/`."""

    suffix: ClassVar[str]  # of the file
    further: ClassVar[tuple[str, ...]] = ()  # suffixes of what it needs beside itself, by the same stem
    packages: ClassVar[tuple[str, ...]] = ()  # what it needs beside what training needs
    batch: ClassVar[int | None] = None  # pictures at a time that the file takes; None: any number
    calibrates: ClassVar[bool] = False  # whether it must see pictures of the training partition
    check: ClassVar[str]  # the script that checks the golden cases: one of `exporting/device/`, or a whole path
    call: ClassVar[str] = "call_nothing.md.j2"  # how the card says to call it: one of `templates/`, or a whole path
    tolerance: ClassVar[float] = 1e-3  # of golden logits on another machine, as a share of how far they spread

    @abstractmethod
    def write(self, source: Source, path: Path) -> "Quantisation | None":
        """Writes the file.

        Returns:
            How a file of 8 bits came to be; None of others.

        Raises:
            UserError: the network has something that the format has not.
        """

    @abstractmethod
    def put_metadata(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Puts text by name into the file, in place of what was there; beside it where the format has no room."""

    @abstractmethod
    def session(self, path: Path, *, threads: int = 1) -> Session:
        """The file in its own runtime.

        Raises:
            UserError: the runtime can't run it.
        """

    def put_golden(self, path: Path, pictures: np.ndarray, answers: tuple[np.ndarray, np.ndarray]) -> None:
        """Puts the golden cases beside the file in the runtime's own form, where it has one.

        Args:
            path: the file.
            pictures: (n, ...) uint8.
            answers: probabilities and logits, (n, K) each, that it should give.
        """
        return

    def files(self, path: Path) -> tuple[Path, ...]:
        """The file, and what it needs beside itself."""
        return (path, *(path.with_suffix(suffix) for suffix in self.further))


def make_formats(config: "DictConfig") -> dict[str, Format]:
    """The formats that a config asks for, by name.

    Raises:
        UserError: there are none, or what they need is not installed.
    """
    from kdistill.building.instantiate import build

    formats: dict[str, Format] = {str(name): build(section, "format") for name, section in config.format.items()}
    if not formats:
        raise UserError("no format: give format=onnx, or several, format=[onnx,onnx_int8]")
    missing = {
        name: [package for package in one.packages if find_spec(package) is None] for name, one in formats.items()
    }
    if lacking := {name: packages for name, packages in missing.items() if packages}:
        packages = sorted({package for packages in lacking.values() for package in packages})
        raise UserError(f"format={','.join(lacking)} needs {', '.join(packages)}: {how_to_install(*packages)}")
    return formats


@contextmanager
def quiet() -> Iterator[None]:
    """A block without what libraries say to their developers: graphs, traces, warnings."""
    root, disabled = logging.root, logging.root.manager.disable
    level, filters, handlers = root.level, list(root.filters), list(root.handlers)
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)
            root.setLevel(level)  # OpenVINO's converter leaves its own for everybody where it fails
            root.filters, root.handlers = filters, handlers
