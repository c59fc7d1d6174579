"""ExecuTorch in 8 bits: XNNPACK's quantiser, whose ranges come from pictures of the training partition."""

from typing import TYPE_CHECKING, Any

from kdistill.base.errors import UserError
from kdistill.exporting.executorch import ExecuTorch
from kdistill.exporting.executorch_session import silent_executorch
from kdistill.exporting.formats import Source

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_AT_ONCE = 16  # pictures


class ExecuTorchInt8(ExecuTorch):
    """Weights int8 by channel, activations int8; the logits, and the softmax after them, stay float32."""

    packages = ("executorch", "torchao")
    calibrates = True
    tolerance = 0.1  # processors add int8 products in other ways

    def program(self, source: Source) -> "ExportedProgram":
        import torch

        from kdistill.exporting.device_network import captured

        pictures = torch.from_numpy(source.calibration)
        graph: Any = captured(source.network, source.sample).module()
        try:
            with silent_executorch(), torch.no_grad():
                from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

                prepared = prepare_pt2e(graph, _quantizer(graph))
                for part in pictures.split(_AT_ONCE):
                    prepared(part)
                return torch.export.export(convert_pt2e(prepared), (source.sample[:1],))
        except Exception as error:  # torchao raises whatever its parts raise
            raise UserError(
                f"ExecuTorch's quantiser can't quantise this network: {error}; format=executorch keeps float32"
            ) from error


def _quantizer(graph: Any) -> Any:
    """XNNPACK's, whose last layer gives float32: it takes 8 bits of a range that each picture has for itself."""
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    (answers,) = next(iter(reversed(graph.graph.nodes))).args
    logits = answers[1]
    layers = [name for name, _ in (logits.meta.get("nn_module_stack") or {}).values() if name]
    if logits.target is torch.ops.aten.linear.default and layers:
        quantizer.set_module_name(layers[-1], get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
    return quantizer
