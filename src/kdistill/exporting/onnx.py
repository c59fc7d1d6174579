"""ONNX in float32: by torch's exporter, for ONNX Runtime and whatever else reads ONNX."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kdistill.base.errors import UserError
from kdistill.exporting.formats import INPUT, OUTPUTS, Format, Source, quiet
from kdistill.exporting.manifest import Quantisation
from kdistill.exporting.onnx_session import OnnxSession

if TYPE_CHECKING:
    from onnx import NodeProto
    from torch.export import ExportedProgram


_SCOPES = "pkg.torch.onnx.name_scopes"


class Onnx(Format):
    """One file that needs nothing beside it; the number of pictures is free."""

    suffix = ".onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")
    check = "check_onnx.py"
    call = "call_onnx.md.j2"

    def __init__(self, *, opset: int = 20) -> None:
        """What the file is written in.

        Args:
            opset: version of ONNX's operators.
        """
        self.opset = opset

    def write(self, source: Source, path: Path) -> Quantisation | None:
        name = f"onnx {self.opset}"
        if name not in source.made:
            self._export(source, path)
            source.made[name] = path.read_bytes()
        path.write_bytes(source.made[name])
        return None

    def _export(self, source: Source, path: Path) -> None:
        import torch

        from kdistill.exporting.device_network import attention_in_parts, captured

        with attention_in_parts(source.network):
            program = captured(source.network, source.sample)
        with quiet():
            try:
                torch.onnx.export(
                    program, (), path, dynamo=True, external_data=False, opset_version=self.opset, verbose=False,
                    input_names=[INPUT], output_names=list(OUTPUTS),
                )  # fmt: skip
            except torch.onnx.errors.OnnxExporterError as error:
                raise UserError(f"ONNX has no way to say all of this network: {_lacking(program, error)}") from error
        _tidy(path)

    def put_metadata(self, path: Path, metadata: Mapping[str, str]) -> None:
        import onnx

        model = onnx.load(path)
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, dict(metadata))
        onnx.save(model, path)

    def session(self, path: Path, *, threads: int = 1) -> OnnxSession:
        return OnnxSession(path, threads=threads)


def _tidy(path: Path) -> None:
    """Takes out what the exporter notes of this machine's folders; names nodes by layer, and the number of pictures."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    for node in graph.node:
        node.name = _with_layer(node)
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
    for node in graph.node:
        node.ClearField("doc_string")
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]  # they name it otherwise, and a runtime works them out itself
    model.producer_name = "kdistill"
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _with_layer(node: "NodeProto") -> str:
    """A node's name with its layer's before it, as the exporter has noted it: `blocks.0.conv/Conv_7`."""
    noted = {one.key: one.value for one in node.metadata_props}.get(_SCOPES)
    layers = [] if noted is None else [layer for layer in ast.literal_eval(noted)[:-1] if layer]
    layer = layers[-1].removeprefix("network.") if layers else "network"
    return f"{layer}/{node.name.removeprefix('node_')}"


def _lacking(program: "ExportedProgram", error: Exception) -> str:
    """The operator that could not be said, and the layer that it is of."""
    from kdistill.exporting.device_network import operator_in

    chain: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        chain.append(str(cause))
        cause = cause.__cause__
    said = " ".join(chain)  # what it was taken apart into may have another prefix
    names = re.findall(r"op='\w+\.(\w+)'", said) or re.findall(r"target=torch\.ops\.\w+\.(\w+)", said)
    reason = chain[-1].splitlines()[0] if chain[-1] else type(error).__name__
    if (found := operator_in(program, names)) is not None:
        return found if reason.startswith("No ONNX function") else f"{found} ({reason})"
    return reason
