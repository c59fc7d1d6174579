"""One OpenVINO model in 8 bits in several ways, by NNCF, which looks at the pictures anew for each."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from kdistill.exporting.formats import Format, Session
from kdistill.exporting.openvino_layers import layers_of
from kdistill.exporting.openvino_session import silent_openvino
from kdistill.exporting.quantiser import Quantiser, Recipe

Preset = Literal["mixed", "performance"]


class OpenVinoQuantiser(Quantiser):
    """NNCF's quantisation after training, with its correction of biases; methods are average, minmax, percentile."""

    others: Mapping[str, float] = MappingProxyType({"minmax": 1, "percentile": 2})
    room = "in half of their range, so that no sum overflows 16 bits"

    def __init__(
        self, form: Format, model: Any, weights: Mapping[str, np.ndarray], pictures: np.ndarray, *,
        preset: Preset, folder: Path,
    ) -> None:  # fmt: skip
        """Finds the layers.

        Args:
            form: whose files they are.
            model: the float one, as OpenVINO has it in memory.
            weights: of the network, two axes or more, by the layer's name.
            pictures: (n, ...) uint8 to calibrate by.
            preset: mixed: activations over their own ranges; performance: the same on both sides of 0.
            folder: where it may write.
        """
        self.format, self.folder = form, folder
        self._model, self._pictures, self._preset = model, pictures, preset
        self._layers = {layer.name: layer for layer in layers_of(model, weights)}
        self.layers = list(self._layers)

    def plain(self, method: str) -> Recipe:
        return Recipe("average" if method == "auto" else method)

    def write(self, recipe: Recipe, path: Path) -> None:
        with silent_openvino() as openvino:
            openvino.save_model(self._quantised(recipe), path, compress_to_fp16=False)

    def _quantised(self, recipe: Recipe) -> Any:
        import nncf
        from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
        from nncf.quantization.range_estimator import RangeEstimatorParameters, RangeEstimatorParametersSet

        ranges = {
            "average": RangeEstimatorParameters(),  # NNCF's own: the mean of what each picture shows
            "minmax": RangeEstimatorParametersSet.MINMAX,
            "percentile": RangeEstimatorParametersSet.MEAN_QUANTILE,
        }
        further = AdvancedQuantizationParameters(activations_range_estimator_params=ranges[recipe.method])
        if recipe.room:
            further.overflow_fix = OverflowFix.ENABLE
        return nncf.quantize(
            self._model.clone(),
            nncf.Dataset(self._pictures, lambda picture: picture[None]),
            preset=nncf.QuantizationPreset(self._preset),
            subset_size=len(self._pictures),
            ignored_scope=nncf.IgnoredScope(names=[self._layers[name].node for name in recipe.float_layers]),
            advanced_parameters=further,
        )

    def one_in_float(self, base: Recipe, file: Path) -> Callable[[str], Session]:
        with silent_openvino() as openvino:
            model, place = openvino.Core().read_model(file), self.folder / "layer.xml"

        def session(name: str) -> Session:
            layer = self._layers[name]
            with silent_openvino() as openvino:
                changed = model.clone()
                node = next(one for one in changed.get_ops() if one.get_friendly_name() == layer.node)
                before = node.input_value(0).get_node()
                if before.get_type_name() == "FakeQuantize":
                    node.input(0).replace_source_output(before.input_value(0))
                node.input(1).replace_source_output(openvino.opset8.constant(layer.weight).output(0))
                openvino.save_model(changed, place, compress_to_fp16=False)
            return self.format.session(place)

        return session
