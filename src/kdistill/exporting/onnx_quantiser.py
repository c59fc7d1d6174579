"""One ONNX model in 8 bits in several ways, calibrated once for each way to find the ranges of activations."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from kdistill.base.errors import UserError
from kdistill.exporting.formats import INPUT, OUTPUTS, Format, Session, quiet
from kdistill.exporting.onnx_layers import layers_of, with_float_weights, with_ranges, with_room
from kdistill.exporting.quantiser import Quantiser, Recipe

if TYPE_CHECKING:
    from onnx import ModelProto

_METHODS = {
    "minmax": "MinMax",
    "learned": "MinMax",
    "average": "MinMax",
    "entropy": "Entropy",
    "percentile": "Percentile",
}
_AT_ONCE = 8  # pictures whose activations are in memory
_NORMALISING = ("Cast", "Transpose", "Mul", "Div", "Add", "Sub")


class OnnxQuantiser(Quantiser):
    """ONNX Runtime's static quantisation of a float model; methods are minmax, average, entropy, percentile, learned.

    The last is that of training where it has learned a range, else minmax.
    """

    others: Mapping[str, float] = MappingProxyType({"minmax": 0.5, "average": 1, "percentile": 8})
    room = "made smaller where two products would overflow 16 bits"

    def __init__(
        self, form: Format, whole: Path, pictures: np.ndarray, ranges: Mapping[str, tuple[float, float]] | None = None
    ) -> None:  # fmt: skip
        """Readies the model: its shapes and constants are worked out.

        Args:
            form: whose files they are.
            whole: the float model; what is made on the way lies beside it.
            pictures: (n, ...) uint8 to calibrate by.
            ranges: that training has learned, of what goes into layers, by the layers' names.
        """
        import onnx
        from onnxruntime.quantization.shape_inference import quant_pre_process

        self.format, self.folder, self.pictures = form, whole.parent, pictures
        self.ready = whole.with_name("ready.onnx")
        # Shapes by ONNX's own inference: the symbolic one needs sympy, and no shape but the batch is free.
        quant_pre_process(str(whole), str(self.ready), skip_symbolic_shape=True)
        self.model = onnx.load(self.ready)
        self._layers = layers_of(self.model)
        self.layers = [layer.name for layer in self._layers]
        self.learned = with_ranges(self._layers, ranges or {})
        self._with_room = with_room(self.model)
        self._always_float = _in_float(self.model)

    def plain(self, method: str) -> Recipe:
        if method == "learned" and not self.learned:
            raise UserError("method=learned: this run has learned no ranges; train with quantize=int8, or give auto")
        ranges = ("learned" if self.learned else "minmax") if method == "auto" else method
        return Recipe(ranges, room=ranges == "learned")

    def write(self, recipe: Recipe, path: Path) -> None:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        pictures = _Pictures(self.pictures)
        names = set(recipe.float_layers)
        left_out = [node for layer in self._layers if layer.name in names for node in layer.nodes]
        floats = {layer.weight for layer in self._layers if layer.name in names}
        options: dict[str, object] = {"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]}
        given = self.learned if recipe.method == "learned" else {}
        given = given | (self._with_room if recipe.room else {})
        options["TensorQuantOverrides"] = {
            name: [dict(one) for one in ranges] for name, ranges in given.items() if name not in floats
        }
        if recipe.method == "average":
            options["CalibMovingAverage"] = True  # over all pictures at once: the plain mean
        else:  # by its name of one method alone; what the others gather would fill the memory else
            options["CalibStridedMinMax"] = pictures.at_once
        with quiet():
            quantize_static(
                str(self.ready), str(path), pictures,
                quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                calibrate_method=getattr(CalibrationMethod, _METHODS[recipe.method]),
                nodes_to_exclude=[*self._always_float, *left_out], extra_options=options,
                calibration_cache_path=str(self.folder / f"{recipe.method.replace('learned', 'minmax')}.json"),
            )  # fmt: skip

    def one_in_float(self, base: Recipe, file: Path) -> Callable[[str], Session]:
        import onnx

        model, place = onnx.load(file), self.folder / "layer.onnx"
        weights = {one.name: one for one in self.model.graph.initializer}
        layers = {layer.name: layer for layer in self._layers}

        def session(name: str) -> Session:
            onnx.save(with_float_weights(model, layers[name], weights[layers[name].weight]), place)
            return self.format.session(place)

        return session


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


def _in_float(model: "ModelProto") -> list[str]:
    """The nodes that normalise the picture, and those that make probabilities of logits: they stay as they are."""
    found = [node.name for node in model.graph.node if OUTPUTS[0] in node.output]
    reached = {INPUT}
    for node in model.graph.node:  # in the order in which they are computed
        if reached & set(node.input) and node.op_type in _NORMALISING:
            found.append(node.name)
            reached |= set(node.output)
    return found
