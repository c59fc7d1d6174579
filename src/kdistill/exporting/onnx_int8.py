"""ONNX in 8 bits: ONNX Runtime's static quantisation, whose ranges come from pictures of the training partition."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from kdistill.base.errors import UserError
from kdistill.exporting.formats import Source, quiet
from kdistill.exporting.manifest import Quantisation
from kdistill.exporting.onnx import Onnx

Method = Literal["auto", "minmax", "average", "percentile", "entropy", "learned"]


class OnnxInt8(Onnx):
    """Weights int8 by channel, activations uint8; the logits, and the softmax after them, stay float32."""

    calibrates = True
    tolerance = 0.1  # processors without VNNI add int8 products in another way

    def __init__(
        self, *, opset: int = 20, method: Method = "auto", float_layers: Sequence[str] | None = None
    ) -> None:  # fmt: skip
        """How the ranges of activations are found, and which layers stay in float.

        Args:
            opset: version of ONNX's operators.
            method: minmax: all that was seen; average: the mean of what each picture shows; entropy, percentile: rare
                values are cut off; learned: those of a run with quantize=int8; auto: these where there are any,
                else validation chooses.
            float_layers: by name; None: validation chooses, none where the others are good.
        """
        super().__init__(opset=opset)
        self.method: Method = method
        self.float_layers = None if float_layers is None else tuple(float_layers)

    def write(self, source: Source, path: Path) -> Quantisation:
        from kdistill.exporting.choice import choose
        from kdistill.exporting.onnx_quantiser import OnnxQuantiser

        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            whole = Path(folder, "float.onnx")
            super().write(source, whole)
            try:
                with quiet():
                    quantiser = OnnxQuantiser(self, whole, source.calibration, source.ranges)
                return choose(quantiser, source.judge, path, method=self.method, float_layers=self.float_layers)
            except UserError:
                raise
            except Exception as error:  # onnxruntime raises whatever its parts raise
                raise UserError(
                    f"ONNX Runtime can't quantise this network: {error}; format=onnx keeps float32"
                ) from error
