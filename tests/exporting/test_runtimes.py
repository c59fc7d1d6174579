"""The files of runtimes beside ONNX Runtime: what they hand over, and what they refuse."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fresh_python import checked_by, fresh_python
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.config.compose import compose_config
from kdistill.export import export
from kdistill.exporting import handover
from kdistill.exporting.device_network import DeviceNetwork, weights_of
from kdistill.exporting.executorch import ExecuTorch
from kdistill.exporting.formats import Format, Source
from kdistill.exporting.load import load
from kdistill.exporting.openvino import OpenVino
from kdistill.exporting.openvino_layers import layers_of
from kdistill.exporting.openvino_session import silent_openvino
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import Normalisation

FURTHER = {
    "openvino": {"student.bin"},
    "executorch": {"student.pte.json", "golden.bpte"},
}  # what lies beside a file, by runtime
SUFFIX = {"openvino": ".xml", "executorch": ".pte"}
WEIGHTS = {"openvino": "student.bin", "executorch": "student.pte"}
RUNTIMES = list(FURTHER)


class Bessel(nn.Module):
    def forward(self, pooled: Tensor) -> Tensor:
        return torch.special.bessel_j0(pooled)


class Exotic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(Bessel())

    def forward(self, image: Tensor) -> Tensor:
        return self.inner(image.mean((2, 3)))


def source(network: nn.Module) -> Source:
    device = DeviceNetwork(network, Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), layout="nchw")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), dtype=np.uint8)
    return Source(device, torch.from_numpy(pictures[:2]), pictures)


def test_openvino_takes_raw_pictures_and_answers_as_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    nn.init.uniform_(norm.weight, -2, 2)
    body = nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 36, 5)
    made = source(nn.Sequential(*body).eval())
    file = tmp_path / "student.xml"
    OpenVino().write(made, file)
    with silent_openvino() as openvino:
        layers = layers_of(openvino.Core().read_model(file), weights_of(made.network))
    assert [layer.name for layer in layers] == ["0", "3", "5"], "BatchNorm and normalisation are folded into the first"
    session = OpenVino().session(file)
    expected = [part.numpy() for part in made.network(torch.from_numpy(made.calibration))]
    for count in (3, 1):
        for found, wanted in zip(session.run(made.calibration[:count]), expected, strict=True):
            assert found == pytest.approx(wanted[:count], abs=1e-5)


@pytest.mark.parametrize("kind", [OpenVino, pytest.param(ExecuTorch, marks=pytest.mark.slow)])
def test_an_operator_that_a_runtime_lacks_is_named_with_its_layer(kind: type[Format], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the operator aten.special_bessel_j0.default, in inner\.0"):
        kind().write(source(Exotic()), tmp_path / f"none{kind.suffix}")
    assert not list(tmp_path.iterdir())


def test_all_checks_judge_alike() -> None:
    texts = [path.read_text() for path in (Path(handover.__file__).parent / "device").glob("check_*.py")]
    parts = {
        (text[text.index("    gap =") : text.index("    for _ in")], text[text.index("    status =") :])
        for text in texts
    }
    assert len(texts) >= 4 and len(parts) == 1


@pytest.fixture(scope="module", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def made(runtime: str, trained: Path) -> dict[str, dict[str, Any]]:
    """The manifests of a runtime's float32 and int8 files of the run, by name."""
    words = [f"run={trained}", f"format=[{runtime},{runtime}_int8]", f"dataset.cache={trained.parent / 'cache'}"]
    return {manifest["format"]: manifest for manifest in export(compose_config(words, "export"))}


@pytest.mark.slow
def test_what_a_runtime_hands_over_is_what_onnx_runtime_does(
    runtime: str, trained: Path, made: dict[str, dict[str, Any]], folders: Path, tmp_path: Path
) -> None:
    record, sizes = RunFolder(trained).record(), []
    for name, manifest in made.items():
        folder = trained / "export" / name
        beside = {"manifest.json", "golden.npz", "check.py", "README.md"} | FURTHER[runtime]
        assert {path.name for path in folder.iterdir()} == beside | {f"student{SUFFIX[runtime]}"}
        assert json.loads((folder / "manifest.json").read_text())["float_test"] == pytest.approx(record.test, abs=1e-6)
        assert manifest["agreement"] >= 0.98 and manifest["peak_memory_mb"] > 20 and manifest["latency_ms"] > 0
        facts = load(folder).facts
        assert facts.classes == ("dark", "light") and facts.fingerprint == record.fingerprint
        assert facts.verdict == manifest["verdict"] and facts.metrics["accuracy"] == manifest["test"]["accuracy"]
        sizes.append((folder / WEIGHTS[runtime]).stat().st_size)
        assert facts.input.batch == (1 if runtime == "executorch" else None)
        text = (folder / "README.md").read_text()
        assert f"**{manifest['verdict']}**" in text and "```cpp" in text and "{{" not in text and "None," not in text
    assert made[runtime]["verdict"] == "passes" and made[runtime]["calibration"] is None
    assert made[f"{runtime}_int8"]["calibration"] == "102 images of train, by class, seed 0" and sizes[1] < sizes[0]
    assert made[runtime]["largest_logit_difference"] < 1e-4 < made[f"{runtime}_int8"]["largest_logit_difference"]
    pictures = sorted((folders / "test" / "light").iterdir())[:3]
    for one, other in zip(
        load(trained / "export" / runtime).predict(pictures), load(trained).predict(pictures), strict=True
    ):
        assert one.label == other.label and one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


@pytest.mark.slow
def test_a_runtimes_check_passes_in_a_fresh_environment_with_numpy_and_the_runtime_alone(
    runtime: str, trained: Path, made: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    python, listed = fresh_python(tmp_path / "venv", runtime, made[runtime]["versions"])
    assert runtime in listed and not {"torch", "kdistill", "onnx", "nncf", "timm"} & listed
    if runtime == "executorch":  # it stands on torch, which is large: the one that is installed here is lent
        here, there = Path(torch.__file__).parents[1], next(python.parents[1].glob("lib/python*/site-packages"))
        for name in ("torch", "torchgen", "functorch", "nvidia", "networkx", "jinja2", "markupsafe"):
            if (here / name).exists() and not (there / name).exists():
                (there / name).symlink_to(here / name)
    for name in made:
        assert checked_by(python, trained / "export" / name, tmp_path / name).startswith("pass: 8 pictures")


@pytest.mark.slow
def test_a_runtimes_check_fails_where_a_device_answers_otherwise(
    runtime: str, trained: Path, made: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    if runtime == "executorch":
        pytest.skip("it imports torch for ten seconds, and judges as the others do")
    shutil.copytree(trained / "export" / runtime, tmp_path / "copy")
    with np.load(tmp_path / "copy" / "golden.npz") as golden:
        content = dict(golden)
    np.savez(tmp_path / "copy" / "golden.npz", **(content | {"logits": content["logits"] + 10}))
    with pytest.raises(UserError, match="FAIL: 8 pictures"):
        handover.checked(tmp_path / "copy")


@pytest.mark.slow
def test_a_runtimes_file_that_was_changed_is_refused(
    runtime: str, trained: Path, made: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained / "export" / runtime, folder)
    told = next(path for path in (folder / "student.pte.json", folder / "student.xml") if path.is_file())
    text = told.read_text(encoding="utf-8")
    quote = next(quote for quote in ('\\"', "&quot;") if f"{quote}light{quote}" in text)
    for changed, reason in (
        (
            text.replace(f"{quote}light{quote}", f"{quote}third{quote}, {quote}light{quote}"),
            "takes or gives something else than it",
        ),
        (text.replace("fingerprint", "nothing"), "was not made by kdistill.export"),
    ):
        told.write_text(changed, encoding="utf-8")
        with pytest.raises(UserError, match=reason):
            load(folder)
    told.write_text(text, encoding="utf-8")
    (folder / f"student{SUFFIX[runtime]}").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"can't run .*student"):
        load(folder)


@pytest.mark.slow
def test_an_openvino_file_answers_without_torch_and_reports_nothing(trained: Path, folders: Path) -> None:
    place = trained / "export" / "openvino"
    if not place.is_dir():
        load(trained).export("openvino", **{"dataset.cache": str(trained.parent / "cache")})
    code = "import sys; from kdistill import predict; predict.main(); print(sorted(sys.modules), file=sys.stderr)"
    picture = folders / "test" / "dark" / "1.png"
    command = [sys.executable, "-c", code, f"model={place}", f"images=[{picture}]", "form=json"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0 and json.loads(done.stdout)["class"] in ("dark", "light"), done.stderr
    assert "'openvino'" in done.stderr
    assert not [name for name in ("torch", "nncf", "openvino_telemetry") if f"'{name}'" in done.stderr]


@pytest.mark.slow
def test_a_bundled_program_has_the_golden_cases(trained: Path, tmp_path: Path) -> None:
    from executorch.extension.pybindings.portable_lib import _load_bundled_program_from_buffer

    place = trained / "export" / "executorch"
    if not place.is_dir():
        load(trained).export("executorch", **{"dataset.cache": str(trained.parent / "cache")})
    bundle = _load_bundled_program_from_buffer((place / "golden.bpte").read_bytes())
    for number in range(8):
        bundle.verify_result_with_bundled_expected_output("forward", number, 1e-4, 1e-4)
    shutil.copy(place / "student.pte", tmp_path)
    with np.load(place / "golden.npz") as golden:
        pictures, logits = golden["image"], golden["logits"]
    ExecuTorch().put_golden(tmp_path / "student.pte", pictures, (logits, logits))
    bundle = _load_bundled_program_from_buffer((tmp_path / "golden.bpte").read_bytes())
    with pytest.raises(RuntimeError):
        bundle.verify_result_with_bundled_expected_output("forward", 0, 1e-4, 1e-4)
