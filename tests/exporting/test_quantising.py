"""How a file of 8 bits is chosen: on validation, told, and not at all where nobody wants it."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from kdistill.base.errors import UserError
from kdistill.exporting.choice import choose
from kdistill.exporting.device_network import DeviceNetwork
from kdistill.exporting.executorch_int8 import ExecuTorchInt8
from kdistill.exporting.formats import Format, Source
from kdistill.exporting.judge import Judge, Judgement
from kdistill.exporting.onnx_int8 import OnnxInt8
from kdistill.exporting.onnx_quantiser import OnnxQuantiser
from kdistill.exporting.onnx_session import OnnxSession
from kdistill.exporting.openvino_int8 import OpenVinoInt8
from kdistill.exporting.quantiser import Quantiser, Recipe
from kdistill.exporting.torch_session import TorchSession
from kdistill.models.rounding import largest_pair
from kdistill.runs.record import Normalisation


@pytest.fixture(scope="module")
def quantiser(trained: Path, exported: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> OnnxQuantiser:
    """Of the tiny run's float file."""
    whole = tmp_path_factory.mktemp("quantised") / "float.onnx"
    whole.write_bytes((trained / "export" / "onnx" / "student.onnx").read_bytes())
    return OnnxQuantiser(OnnxInt8(), whole, np.random.default_rng(0).integers(0, 256, (16, 3, 32, 32), dtype=np.uint8))


@pytest.fixture
def judge(trained: Path) -> Judge:
    """Some pictures, and what the float file says of them; nothing is near enough."""
    pictures = np.random.default_rng(1).integers(0, 256, (40, 3, 32, 32), dtype=np.uint8)
    _, logits = OnnxSession(trained / "export" / "onnx" / "student.onnx").run(pictures)
    return Judge(pictures, logits.argmax(1), logits, "accuracy", 0.005, most=1e-9, seconds=100)


def test_a_file_is_judged_by_metric_agreement_and_the_distance_of_its_logits() -> None:
    class Session:
        def run(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            logits = pictures[:, 0, 0].astype(np.float32)
            return logits, logits

    wanted = np.array([[0, 4], [4, 0], [0, 4], [4, 0]], dtype=np.float32)
    answered = np.array([[0, 4], [4, 0], [0, 4], [0, 4]], dtype=np.uint8)
    judge = Judge(answered[:, None, None], np.array([1, 0, 1, 0]), wanted, "accuracy", 0.3, most=1.0, seconds=1)
    found = judge.judge(Session())
    assert found == Judgement(-0.25, 0.75, pytest.approx(math.sqrt(4 * 4 * 2 / 8) / 2))
    assert judge.is_good(found) and not replace(judge, margin=0.2).is_good(found)
    assert not replace(judge, most=0.9).is_good(found), "the same metric, by luck"
    assert replace(judge, margin=0.2).is_good(Judgement(float("nan"), 1.0, 0.1)), "a metric that is not defined"
    assert len(judge.of_some(3).target) == 3 and len(judge.of_some(9).target) == 4


def test_weights_with_room_never_overflow_16_bits(quantiser: Quantiser, tmp_path: Path) -> None:
    def most(room: bool) -> int:
        quantiser.write(Recipe("minmax", room), tmp_path / "file.onnx")
        weights = [
            onnx.numpy_helper.to_array(one).astype(int)
            for one in onnx.load(tmp_path / "file.onnx").graph.initializer
            if one.data_type == onnx.TensorProto.INT8 and len(one.dims) == 4
        ]
        assert len(weights) >= 2
        return max(
            int(largest_pair(torch.from_numpy(np.moveaxis(one, 1, -1).reshape(len(one), -1))).max()) for one in weights
        )

    assert most(False) * 255 > 32767 >= (most(True) - 1) * 255, "rounding alone may add one"


def test_layers_go_to_float_where_nothing_else_is_good_and_it_is_told_which(
    quantiser: Quantiser, judge: Judge, tmp_path: Path
) -> None:
    told = choose(quantiser, judge, tmp_path / "file.onnx", method="auto", float_layers=None)
    plain, chosen = told["plain"], told["chosen"]
    names = quantiser.layers
    assert plain is not None and plain["float_layers"] == [] and plain["weights"] == ""
    assert plain["distance"] is not None and chosen["distance"] is not None and chosen["distance"] < plain["distance"]
    assert told["judged_on"] == "40 images of validation, by class" and told["layers"] == len(names)
    assert told["tries"] > len(names) and told["reason"].startswith("none was good")
    assert judge.judge(OnnxSession(tmp_path / "file.onnx")).distance == pytest.approx(chosen["distance"])
    kinds = {one.name: one.data_type for one in onnx.load(tmp_path / "file.onnx").graph.initializer}
    assert chosen["float_layers"] and set(chosen["float_layers"]) <= set(names)
    for name in names:
        assert (f"network.{name}.weight" in kinds) == (name in chosen["float_layers"])


def test_a_plain_file_that_is_good_is_taken_and_time_is_bounded(
    quantiser: Quantiser, judge: Judge, tmp_path: Path
) -> None:
    told = choose(
        quantiser, replace(judge, most=10.0, margin=1.0), tmp_path / "file.onnx", method="auto", float_layers=None
    )
    assert told["plain"] is None and told["tries"] == 1 and told["reason"] == "the plain file is good"
    told = choose(quantiser, replace(judge, seconds=1e-6), tmp_path / "file.onnx", method="auto", float_layers=None)
    assert told["tries"] == 1 and told["reason"].startswith("none was good within 1e-06 s")
    first = quantiser.layers[0]
    told = choose(quantiser, None, tmp_path / "file.onnx", method="average", float_layers=[first])
    assert told["judged_on"] is None and told["chosen"]["method"] == "average"
    assert told["chosen"]["float_layers"] == [first] and told["chosen"]["distance"] is None
    with pytest.raises(UserError, match=f"no layer '{first}x'; did you mean '{first}'"):
        choose(quantiser, None, tmp_path / "file.onnx", method="auto", float_layers=[f"{first}x"])


def test_an_export_tells_what_validation_chose(trained: Path, exported: dict[str, dict[str, Any]]) -> None:
    from kdistill.runs.folder import RunFolder

    told = json.loads((trained / "export" / "onnx_int8" / "manifest.json").read_text())["quantisation"]
    assert told["judged_on"] == f"{RunFolder(trained).record().data.val} images of validation, by class"
    assert told["chosen"]["distance"] < 0.1 and exported["onnx"]["quantisation"] is None
    card = (trained / "export" / "onnx_int8" / "README.md").read_text()
    assert "## How 8 bits were chosen" in card and f"{told['layers']} layers in " in card
    assert "8 bits were chosen" not in (trained / "export" / "onnx" / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [OpenVinoInt8, ExecuTorchInt8])
def test_other_runtimes_files_are_chosen_by_the_same_loop(kind: type[Format], tmp_path: Path) -> None:
    torch.manual_seed(0)
    body = nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 1)  # 8 bits of the first end before the second
    network = nn.Sequential(*body, nn.Flatten(), nn.Linear(8 * 49, 5)).eval()
    device = DeviceNetwork(network, Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), layout="nchw")
    pictures = np.random.default_rng(0).integers(0, 256, (24, 3, 16, 16), dtype=np.uint8)
    _, logits = TorchSession(device).run(pictures)
    judge = Judge(pictures, logits.argmax(1), logits, "accuracy", 0.005, most=1e-9, seconds=1000)
    source = Source(device, torch.from_numpy(pictures[:2]), pictures[:12], judge)
    form, file = kind(method="minmax"), tmp_path / f"student{kind.suffix}"  # type: ignore[call-arg]
    told = form.write(source, file)
    assert told is not None and told["plain"] is not None and told["layers"] == 3 and told["tries"] >= 5
    chosen, plain = told["chosen"], told["plain"]
    assert chosen["distance"] is not None and plain["distance"] is not None and chosen["distance"] < plain["distance"]
    assert set(chosen["float_layers"]) <= {"0", "2", "4"} and not plain["float_layers"]
    assert judge.judge(form.session(file)).distance == pytest.approx(chosen["distance"], rel=1e-3)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in form.files(file)}
    told = kind(float_layers=["0", "2", "4"], method="minmax").write(source, file)  # type: ignore[call-arg]
    assert told is not None and told["chosen"]["distance"] is not None
    assert told["chosen"]["distance"] < plain["distance"]
    with pytest.raises(UserError, match=r"there is no layer '7'; .*there are 0, 2, 4"):
        kind(float_layers=["2", "7"]).write(source, file)  # type: ignore[call-arg]
