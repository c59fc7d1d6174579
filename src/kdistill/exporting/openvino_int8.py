"""OpenVINO in 8 bits: NNCF's quantisation after training, whose ranges come from pictures of the training partition."""

from typing import Any, Literal

from kdistill.base.errors import UserError
from kdistill.exporting.formats import Source
from kdistill.exporting.openvino import OpenVino

Preset = Literal["mixed", "performance"]


class OpenVinoInt8(OpenVino):
    """Weights int8 by channel, activations 8 bits; the logits, and the softmax after them, stay float32."""

    packages = ("openvino", "nncf")
    calibrates = True
    tolerance = 0.1  # processors without VNNI add int8 products in another way

    def __init__(self, *, preset: Preset = "mixed") -> None:
        """How activations are rounded.

        Args:
            preset: mixed: each over its own range; performance: ranges are the same on both sides of 0.
        """
        self.preset = preset

    def model(self, source: Source, openvino: Any) -> Any:
        model = super().model(source, openvino)
        import nncf

        pictures = nncf.Dataset(source.calibration, lambda picture: picture[None])
        try:
            return nncf.quantize(
                model, pictures, preset=nncf.QuantizationPreset(self.preset), subset_size=len(source.calibration)
            )
        except Exception as error:  # nncf raises whatever its parts raise
            raise UserError(f"NNCF can't quantise this network: {error}; format=openvino keeps float32") from error
