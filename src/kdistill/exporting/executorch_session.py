"""An ExecuTorch file on the CPU. Its runtime for Python stands on torch; a device's own, in C++, does not."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kdistill.base.errors import UserError
from kdistill.base.packages import how_to_install
from kdistill.exporting.facts import DeviceFacts, changed, facts_beside
from kdistill.exporting.formats import quiet

METHOD = "forward"
_BYTE = 0  # of torch's types of numbers
_INVALID = "it is no such program, or one of another version"


@contextmanager
def silent_executorch() -> Iterator[list[str]]:
    """A block without what ExecuTorch says to its developers; what its C++ said is in the list when the block ends."""
    said: list[str] = []
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file, quiet():
        screen = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)
            file.seek(0)
            said += file.read().decode(errors="replace").splitlines()


class ExecuTorchSession:
    """One file, loaded; it takes a picture at a time."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Loads it.

        Args:
            path: the .pte file.
            threads: that a picture's computation may use; of all files in this process.

        Raises:
            UserError: executorch is not installed, or can't run the file.
        """
        self.path = path
        said: list[str] = []
        try:
            with silent_executorch() as said:
                from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
                from executorch.runtime import Runtime, Verification

                _unsafe_reset_threadpool(threads)
                content = path.read_bytes()
                self._program = Runtime.get().load_program(content, verification=Verification.InternalConsistency)
                self._method: Any = self._program.load_method(METHOD)
        except ImportError as error:
            raise UserError(f"{path}: an ExecuTorch file needs executorch: {how_to_install('executorch')}") from error
        except Exception as error:  # the runtime has numbers for what goes wrong, and words on standard error
            told = next((line.partition("] ")[2] for line in reversed(said) if "] " in line), "") or _INVALID
            raise UserError(f"ExecuTorch can't run {path}: {told}") from error

    def facts(self) -> DeviceFacts:
        """What the file beside it says of it.

        Raises:
            UserError: nothing that kdistill wrote, or it is not what the program takes.
        """
        facts = facts_beside(self.path)
        about = self._method.metadata
        inputs = [about.input_tensor_meta(place) for place in range(about.num_inputs())]
        given = [about.output_tensor_meta(place).sizes() for place in range(about.num_outputs())]
        found = [(one.dtype(), tuple(one.sizes())) for one in inputs]
        if found != [(_BYTE, (1, *facts.taken))] or [tuple(one) for one in given] != [(1, len(facts.classes))] * 2:
            raise changed(str(self.path))
        return facts

    def run(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import torch

        plain = np.ascontiguousarray(pictures)  # the runtime takes strides for what they are in the file
        answers = [self._method.execute((picture,)) for picture in torch.from_numpy(plain).split(1)]
        probabilities, logits = (np.concatenate([one[place].numpy() for one in answers]) for place in range(2))
        return probabilities, logits
