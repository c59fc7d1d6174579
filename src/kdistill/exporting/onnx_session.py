"""An ONNX file in ONNX Runtime, on the CPU; without torch."""

import re
from pathlib import Path

import numpy as np

from kdistill.base.errors import UserError
from kdistill.base.packages import how_to_install
from kdistill.exporting.facts import DeviceFacts, changed, from_metadata
from kdistill.exporting.formats import INPUT, OUTPUTS


class OnnxSession:
    """One file, loaded."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Loads it.

        Args:
            path: the .onnx file.
            threads: that a picture's computation may use.

        Raises:
            UserError: onnxruntime is not installed, or can't run the file.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(f"{path}: an ONNX file needs onnxruntime: {how_to_install('onnxruntime')}") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is fatal: all else comes as an exception
        self.path = path
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes, which have no common one
            name = path.name if path.parent.name.startswith(".") else path  # a folder that is not whole is nobody's
            raise UserError(f"ONNX Runtime can't run {name}: {_short(error)}") from error

    def facts(self) -> DeviceFacts:
        """What the file says of itself.

        Raises:
            UserError: nothing that kdistill wrote, or it is not what its graph takes.
        """
        facts = from_metadata(self._session.get_modelmeta().custom_metadata_map, str(self.path))
        taken = (INPUT, "tensor(uint8)", facts.taken)
        found = [(one.name, one.type, tuple(one.shape[1:])) for one in self._session.get_inputs()]
        given = {one.name: one.shape[1:] for one in self._session.get_outputs()}
        if found != [taken] or given != {name: [len(facts.classes)] for name in OUTPUTS}:
            raise changed(str(self.path))
        return facts

    def run(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities, logits = self._session.run(list(OUTPUTS), {INPUT: pictures})
        return probabilities, logits


def _short(error: Exception) -> str:
    """onnxruntime's message without its codes and file names."""
    text = str(error).splitlines()[0]
    if lacks := re.search(r"Could not find an implementation for (\w+)\(\d+\) node with name '(.+?)/\w+'", text):
        return f"it has no operator {lacks[1]} for numbers of that kind, in {lacks[2]}"
    return text.rpartition(" : ")[2] or text
