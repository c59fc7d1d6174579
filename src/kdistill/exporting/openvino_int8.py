"""OpenVINO in 8 bits: NNCF's quantisation after training, whose ranges come from pictures of the training partition."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from kdistill.base.errors import UserError
from kdistill.exporting.formats import Source
from kdistill.exporting.manifest import Quantisation
from kdistill.exporting.openvino import OpenVino
from kdistill.exporting.openvino_quantiser import OpenVinoQuantiser, Preset
from kdistill.exporting.openvino_session import silent_openvino

Method = Literal["auto", "average", "minmax", "percentile"]


class OpenVinoInt8(OpenVino):
    """Weights int8 by channel, activations 8 bits; the logits, and the softmax after them, stay float32."""

    packages: ClassVar[tuple[str, ...]] = ("openvino", "nncf")
    calibrates = True
    tolerance = 0.1  # processors without VNNI add int8 products in another way

    def __init__(
        self, *, preset: Preset = "mixed", method: Method = "auto", float_layers: Sequence[str] | None = None
    ) -> None:  # fmt: skip
        """How activations are rounded, and which layers stay in float.

        Args:
            preset: mixed: each over its own range; performance: ranges are the same on both sides of 0.
            method: average: the mean of what each picture shows; minmax: all that was seen; percentile: rare values
                are cut off; auto: validation chooses.
            float_layers: by name; None: validation chooses, none where the others are good.
        """
        self.preset: Preset = preset
        self.method: Method = method
        self.float_layers = None if float_layers is None else tuple(float_layers)

    def write(self, source: Source, path: Path) -> Quantisation:
        from kdistill.exporting.choice import choose
        from kdistill.exporting.device_network import weights_of

        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            with silent_openvino() as openvino:
                model = self.model(source, openvino)
            try:
                quantiser = OpenVinoQuantiser(
                    self, model, weights_of(source.network), source.calibration, preset=self.preset, folder=Path(folder)
                )
                return choose(quantiser, source.judge, path, method=self.method, float_layers=self.float_layers)
            except UserError:
                raise
            except Exception as error:  # nncf raises whatever its parts raise
                raise UserError(f"NNCF can't quantise this network: {error}; format=openvino keeps float32") from error
