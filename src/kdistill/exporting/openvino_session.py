"""An OpenVINO file on the CPU; without torch."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kdistill.base.errors import UserError
from kdistill.base.packages import how_to_install
from kdistill.exporting.facts import DeviceFacts, changed, from_metadata
from kdistill.exporting.formats import INPUT, OUTPUTS, quiet

# OpenVINO computes in bfloat16 where a processor can, which would be another network than the one that was tested.
_EXACT = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
_REPORTS = "openvino_telemetry"
ROOM = "kdistill"  # where a file has what it says of itself


@contextmanager
def silent_openvino() -> Iterator[Any]:
    """The package, in a block in which neither it nor NNCF reports to its makers that it is used."""
    modules: dict[str, Any] = sys.modules
    before = modules.get(_REPORTS)
    modules[_REPORTS] = None  # whoever imports it is told that there is none, and they do without
    try:
        with quiet():
            import openvino

            yield openvino
    finally:
        del modules[_REPORTS]
        if before is not None:
            modules[_REPORTS] = before


class OpenVinoSession:
    """One file, loaded."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Loads it.

        Args:
            path: the .xml file; its weights lie beside it, in the .bin file of that name.
            threads: that a picture's computation may use.

        Raises:
            UserError: openvino is not installed, or can't run the file.
        """
        self.path = path
        try:
            with silent_openvino() as openvino:
                core = openvino.Core()
                self._model = core.read_model(path)
                self._compiled = core.compile_model(self._model, "CPU", _EXACT | {"INFERENCE_NUM_THREADS": threads})
                self._request = self._compiled.create_infer_request()
        except ImportError as error:
            raise UserError(f"{path}: an OpenVINO file needs openvino: {how_to_install('openvino')}") from error
        except Exception as error:  # whatever the runtime's parts raise
            raise UserError(f"OpenVINO can't run {path}: {short(error)}") from error

    def facts(self) -> DeviceFacts:
        """What the file says of itself.

        Raises:
            UserError: nothing that kdistill wrote, or it is not what its graph takes.
        """
        places = {name: [ROOM, name] for name in DeviceFacts.__dataclass_fields__}
        there = {name: place for name, place in places.items() if self._model.has_rt_info(place)}
        said = {name: str(self._model.get_rt_info(place).value) for name, place in there.items()}
        facts = from_metadata(said, str(self.path))
        found = [(one.any_name, one.element_type.get_type_name(), _sizes(one)) for one in self._model.inputs]
        given = {one.any_name: _sizes(one) for one in self._model.outputs}
        if found != [(INPUT, "u8", facts.taken)] or given != {name: (len(facts.classes),) for name in OUTPUTS}:
            raise changed(str(self.path))
        return facts

    def run(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answers = self._request.infer({INPUT: pictures})
        probabilities, logits = (np.array(answers[name]) for name in OUTPUTS)  # the runtime's own memory is used again
        return probabilities, logits


def _sizes(one: Any) -> tuple[int, ...]:
    """Of an input or an output, but for the number of pictures."""
    return tuple(size.get_length() if size.is_static else -1 for size in one.partial_shape)[1:]


def short(error: Exception) -> str:
    """OpenVINO's message without the places in its source."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return told[-1] if told else type(error).__name__
