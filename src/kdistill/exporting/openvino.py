"""OpenVINO's own file in float32: for Intel's processors, their graphics and NPUs, and for ARM."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kdistill.base.errors import UserError
from kdistill.exporting.formats import INPUT, OUTPUTS, Format, Source
from kdistill.exporting.manifest import Quantisation
from kdistill.exporting.openvino_session import ROOM, OpenVinoSession, short, silent_openvino

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class OpenVino(Format):
    """An .xml file with the graph and a .bin file with the weights; the number of pictures is free."""

    suffix = ".xml"
    further = (".bin",)
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    check = "check_openvino.py"
    call = "call_openvino.md.j2"

    def write(self, source: Source, path: Path) -> Quantisation | None:
        with silent_openvino() as openvino:
            openvino.save_model(self.model(source, openvino), path, compress_to_fp16=False)
        return None

    def model(self, source: Source, openvino: Any) -> Any:
        """The network as OpenVINO has it in memory."""
        from kdistill.exporting.device_network import captured

        program = captured(source.network, source.sample)
        try:
            model = openvino.convert_model(program)
        except Exception as error:  # openvino's own classes, which have no common one
            raise UserError(f"OpenVINO has no way to say all of this network: {_lacking(program, error)}") from error
        model.reshape([-1, *source.sample.shape[1:]])
        for port, name in zip((*model.inputs, *model.outputs), (INPUT, *OUTPUTS), strict=True):
            port.set_names({name})
        return model

    def put_metadata(self, path: Path, metadata: Mapping[str, str]) -> None:
        with silent_openvino() as openvino, tempfile.TemporaryDirectory(dir=path.parent) as folder:
            model = openvino.Core().read_model(path)
            model.set_rt_info(dict(metadata), [ROOM])
            openvino.save_model(model, Path(folder, path.name), compress_to_fp16=False)
            for part in self.files(path):
                Path(folder, part.name).replace(part)

    def session(self, path: Path, *, threads: int = 1) -> OpenVinoSession:
        return OpenVinoSession(path, threads=threads)


def _lacking(program: "ExportedProgram", error: Exception) -> str:
    """The operator that could not be said, and the layer that it is of."""
    from kdistill.exporting.device_network import operator_in

    named = short(error)
    return operator_in(program, named.rpartition(": ")[2].split(", ")) or named
