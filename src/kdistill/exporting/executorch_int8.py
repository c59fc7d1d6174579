"""ExecuTorch in 8 bits: XNNPACK's quantiser, whose ranges come from pictures of the training partition."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from kdistill.base.errors import UserError
from kdistill.exporting.executorch import ExecuTorch
from kdistill.exporting.formats import Source
from kdistill.exporting.manifest import Quantisation

Method = Literal["auto", "histogram", "minmax", "average"]


class ExecuTorchInt8(ExecuTorch):
    """Weights int8 by channel, activations int8; the logits, and the softmax after them, stay float32."""

    packages: ClassVar[tuple[str, ...]] = ("executorch", "torchao")
    calibrates = True
    tolerance = 0.1  # processors add int8 products in other ways

    def __init__(self, *, method: Method = "auto", float_layers: Sequence[str] | None = None) -> None:
        """How the ranges of activations are found, and which layers stay in float.

        Args:
            method: histogram: those that round what was seen the least; minmax: all that was seen; average: a moving
                mean of it; auto: validation chooses.
            float_layers: by name; None: validation chooses, none where the others are good.
        """
        self.method: Method = method
        self.float_layers = None if float_layers is None else tuple(float_layers)

    def write(self, source: Source, path: Path) -> Quantisation:
        from kdistill.exporting.choice import choose
        from kdistill.exporting.executorch_quantiser import ExecuTorchQuantiser

        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            try:
                quantiser = ExecuTorchQuantiser(self, source, Path(folder))
                return choose(quantiser, source.judge, path, method=self.method, float_layers=self.float_layers)
            except UserError:
                raise
            except Exception as error:  # torchao raises whatever its parts raise
                raise UserError(
                    f"ExecuTorch's quantiser can't quantise this network: {error}; format=executorch keeps float32"
                ) from error
