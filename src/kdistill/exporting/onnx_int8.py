"""ONNX in 8 bits: ONNX Runtime's static quantisation, whose ranges come from pictures of the training partition."""

import tempfile
from pathlib import Path
from typing import Literal

import numpy as np

from kdistill.base.errors import UserError
from kdistill.exporting.formats import INPUT, OUTPUTS, Source, quiet
from kdistill.exporting.onnx import Onnx

Method = Literal["minmax", "entropy", "percentile"]


class OnnxInt8(Onnx):
    """Weights int8 by channel, activations uint8; the logits, and the softmax after them, stay float32."""

    calibrates = True
    tolerance = 0.1  # processors without VNNI add int8 products in another way

    def __init__(self, *, opset: int = 20, method: Method = "minmax") -> None:
        """How the ranges of activations are found.

        Args:
            opset: version of ONNX's operators.
            method: minmax: all that was seen; entropy, percentile: rare values are cut off.
        """
        super().__init__(opset=opset)
        self.method = method

    def write(self, source: Source, path: Path) -> None:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        with tempfile.TemporaryDirectory(dir=path.parent) as folder, quiet():
            whole, ready = Path(folder, "float.onnx"), Path(folder, "ready.onnx")
            super().write(source, whole)
            pictures = _Pictures(source.calibration)
            try:
                # Shapes by ONNX's own inference: the symbolic one needs sympy, and no shape but the batch is free.
                quant_pre_process(str(whole), str(ready), skip_symbolic_shape=True)
                quantize_static(
                    str(ready), str(path), pictures,
                    quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    calibrate_method=getattr(CalibrationMethod, _METHODS[self.method]),
                    nodes_to_exclude=_in_float(ready),
                    extra_options={
                        "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
                        # By its name of one method alone; what the others gather would fill the memory else.
                        "CalibStridedMinMax": pictures.at_once,
                    },
                )  # fmt: skip
            except Exception as error:  # onnxruntime raises whatever its parts raise
                raise UserError(
                    f"ONNX Runtime can't quantise this network: {error}; format=onnx keeps float32"
                ) from error


_METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
_AT_ONCE = 8  # pictures whose activations are in memory
_NORMALISING = ("Cast", "Transpose", "Mul", "Div", "Add", "Sub")


class _Pictures:
    """Calibration pictures one by one, a part of them at a time, as ONNX Runtime asks for them."""

    def __init__(self, pictures: np.ndarray) -> None:
        self.pictures = pictures
        # A divisor of their number, as ONNX Runtime wants it; a prime number of pictures goes one by one.
        self.at_once = next(size for size in range(_AT_ONCE, 0, -1) if len(pictures) % size == 0)
        self.set_range(0, len(pictures))

    def __len__(self) -> int:
        return len(self.pictures)

    def set_range(self, start_index: int, end_index: int) -> None:
        self.part = iter(self.pictures[start_index:end_index])

    def get_next(self) -> dict[str, np.ndarray] | None:
        picture = next(self.part, None)
        return None if picture is None else {INPUT: picture[None]}


def _in_float(path: Path) -> list[str]:
    """The nodes that normalise the picture, and those that make probabilities of logits: they stay as they are."""
    import onnx

    graph = onnx.load(path).graph
    found = [node.name for node in graph.node if OUTPUTS[0] in node.output]
    reached = {INPUT}
    for node in graph.node:  # in the order in which they are computed
        if reached & set(node.input) and node.op_type in _NORMALISING:
            found.append(node.name)
            reached |= set(node.output)
    return found
