"""What an export hands over, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from fresh_python import checked_by, fresh_python

import kdistill
from kdistill.base.errors import UserError
from kdistill.config.compose import check_overrides, compose_config
from kdistill.export import export, job
from kdistill.exporting import formats, handover
from kdistill.exporting.load import load
from kdistill.exporting.pictures_of_run import spread_over_classes
from kdistill.runs.folder import RunFolder

KEYS = {"format", "file", "size_bytes", "run", "fingerprint", "classes", "input", "verdict", "margin", "test"}
KEYS |= {"float_test", "difference", "latency_ms", "float_latency_ms", "versions"}


def test_a_manifest_has_what_was_measured_and_the_float_file_answers_as_the_run(
    trained: Path, exported: dict[str, dict[str, Any]]
) -> None:
    record = RunFolder(trained).record()
    for name in exported:
        folder = trained / "export" / name
        assert {path.name for path in folder.iterdir()} == {
            "student.onnx", "manifest.json", "golden.npz", "check.py", "README.md",
        }  # fmt: skip
        written = json.loads((folder / "manifest.json").read_text())
        assert written.keys() >= KEYS and written["verdict"] in ("passes", "inconclusive", "fails")
        assert written["size_bytes"] == (folder / "student.onnx").stat().st_size
        assert 0 < written["latency_ms"] < 1000 and written["peak_memory_mb"] > 20
        assert written["float_test"] == pytest.approx(record.test, abs=1e-6)
        assert written["classes"] == ["dark", "light"] and written["fingerprint"] == record.fingerprint
    plain = exported["onnx"]
    assert plain["verdict"] == "passes" and plain["test"] == pytest.approx(record.test, abs=1e-4)
    assert plain["largest_logit_difference"] < 1e-4 and plain["calibration"] is None
    assert exported["onnx_int8"]["calibration"] == "102 images of train, by class, seed 0"


def test_the_file_takes_raw_pictures_and_says_what_it_is(trained: Path, exported: dict[str, dict[str, Any]]) -> None:
    file = trained / "export" / "onnx" / "student.onnx"
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert [(one.name, one.type, one.shape) for one in session.get_inputs()] == [
        ("image", "tensor(uint8)", ["batch", 3, 32, 32])
    ]
    for count in (1, 3):
        probabilities, logits = session.run(None, {"image": np.full((count, 3, 32, 32), 7, np.uint8)})
        assert probabilities.shape == logits.shape == (count, 2)
        assert probabilities.sum(1) == pytest.approx(1.0, abs=1e-6)
    said = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    record = RunFolder(trained).record()
    assert said["classes"] == ["dark", "light"] and said["fingerprint"] == record.fingerprint
    assert said["input"]["mean"] == list(record.input.mean) and said["input"]["height"] == 32
    assert said["verdict"] == "passes" and said["metrics"]["accuracy"] == exported["onnx"]["test"]["accuracy"]
    assert said["versions"]["onnxruntime"] and said["threshold"] == record.threshold.value  # type: ignore[union-attr]
    assert str(Path(__file__).parents[2]) not in str(onnx.load(file)), "a file that is handed over names no folder"


def test_8_bits_are_a_quarter_of_the_size_of_the_weights(trained: Path, exported: dict[str, dict[str, Any]]) -> None:
    def weights(name: str) -> set[int]:
        model = onnx.load(trained / "export" / name / "student.onnx")
        return {one.data_type for one in model.graph.initializer if len(one.dims) == 4 and one.dims[2] > 1}

    assert weights("onnx") == {onnx.TensorProto.FLOAT} and weights("onnx_int8") == {onnx.TensorProto.INT8}


def test_the_check_fails_where_a_device_answers_otherwise(
    trained: Path, exported: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(trained / "export" / "onnx", tmp_path / "onnx")
    assert handover.checked(tmp_path / "onnx").startswith("pass: 8 pictures")
    with np.load(tmp_path / "onnx" / "golden.npz") as golden:
        content = dict(golden)
    np.savez(tmp_path / "onnx" / "golden.npz", **(content | {"logits": content["logits"] + 10}))
    with pytest.raises(UserError, match="FAIL: 8 pictures"):
        handover.checked(tmp_path / "onnx")


def test_the_card_reads_as_text_and_names_the_verdict(trained: Path, exported: dict[str, dict[str, Any]]) -> None:
    text = (trained / "export" / "onnx_int8" / "README.md").read_text()
    assert text.startswith("# mnist\\_small\\_cnn: onnx_int8") or text.startswith("# mnist_small_cnn: onnx_int8")
    for part in (
        f"**{exported['onnx_int8']['verdict']}**",
        "| accuracy |",
        "```cpp",
        "```js",
        "## Limits",
        "McNemar",
    ):
        assert part in text, part
    assert "None," not in text and "nan" not in text and "{{" not in text


def test_a_file_that_fails_is_marked_and_ends_with_exit_code_1(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from kdistill.exporting.onnx import Onnx
    from kdistill.exporting.onnx_session import OnnxSession

    class Wrong(OnnxSession):
        def run(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            probabilities, logits = super().run(pictures)
            return probabilities, -logits

    def without_check(folder: Path) -> str:
        return "pass"

    kept = (trained / "export" / "onnx" / "student.onnx").read_bytes()
    monkeypatch.setattr(Onnx, "session", lambda self, path, threads=1: Wrong(path))
    monkeypatch.setattr(Onnx, "_export", lambda self, source, path: path.write_bytes(kept))
    monkeypatch.setattr(handover, "checked", without_check)
    cache = f"dataset.cache={trained.parent / 'cache'}"
    with pytest.raises(SystemExit) as left:
        job(compose_config([f"run={trained}", f"output={tmp_path}", cache], "export"))
    assert left.value.code == 1 and "not to be used" in capsys.readouterr().err
    manifest = json.loads((tmp_path / "onnx" / "manifest.json").read_text())
    assert manifest["verdict"] == "fails" and manifest["file"] == "student-FAILS.onnx"
    assert "**Not to be used" in (tmp_path / "onnx" / "README.md").read_text()
    monkeypatch.undo()
    assert load(tmp_path / "onnx").facts.verdict == "fails"


def test_a_killed_or_broken_export_leaves_the_folder_as_it_was(
    trained: Path, exported: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdistill.exporting.onnx import Onnx

    def half(self: Onnx, source: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    before = {path: path.read_bytes() for path in (trained / "export").rglob("*") if path.is_file()}
    monkeypatch.setattr(Onnx, "write", half)
    with pytest.raises(KeyboardInterrupt):
        export(compose_config([f"run={trained}", f"dataset.cache={trained.parent / 'cache'}"], "export"))
    assert before == {path: path.read_bytes() for path in (trained / "export").rglob("*") if path.is_file()}


def test_other_data_than_the_runs_are_refused(trained: Path, folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders, tmp_path / "fewer")
    (tmp_path / "fewer" / "test" / "dark" / "0.png").unlink()
    cache = f"dataset.cache={trained.parent / 'cache'}"
    words = [f"run={trained}", f"dataset.root={tmp_path / 'fewer'}", f"output={tmp_path / 'out'}", cache]
    with pytest.raises(UserError, match=r"not those that .* was tested on \(59 now, 60 then"):
        export(compose_config(words, "export"))
    assert not (tmp_path / "out").exists()


def test_what_can_be_known_before_is_refused_in_words(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def said(*words: str) -> str:
        return " ".join(check_overrides(words, "export")[1])

    assert "no option 'onx' in group 'format'; did you mean 'onnx'?" in said(f"run={trained}", "format=onx")
    assert "margin: must be less than or equal to 1, not 2" in said(f"run={trained}", "margin=2")
    assert "metric: must be one of accuracy, f1, auroc" in said(f"run={trained}", "metric=nll")
    shutil.copytree(trained, tmp_path / "begun", ignore=shutil.ignore_patterns("summary.json", "export"))
    assert "it lacks summary.json" in said(f"run={tmp_path / 'begun'}")
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(UserError, match=r"format=onnx needs onnxruntime: .*(pip install|uv sync)"):
        export(compose_config([f"run={trained}"], "export"))


def test_a_hostile_run_folder_builds_nothing(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("export", "sums.json"))
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("kdistill.models.build.create_model", "os.system"))
    for refused in (
        lambda: export(compose_config([f"run={tmp_path / 'run'}"], "export")),
        lambda: load(tmp_path / "run"),
    ):
        with pytest.raises(UserError, match=r"names os.system: a file may name"):
            refused()


def test_calibration_has_every_class_in_its_share() -> None:
    target = np.repeat([0, 1, 2], [600, 300, 100])
    numbers = spread_over_classes(target, 100, seed=1)
    assert np.bincount(target[numbers]).tolist() == [60, 30, 10] and len(set(numbers)) == 100
    assert (spread_over_classes(target, 100, seed=1) == numbers).all()
    assert (spread_over_classes(target, 100, seed=2) != numbers).any()
    assert len(spread_over_classes(target, 5000, seed=1)) == 1000


def test_kdistill_is_imported_in_no_time_and_loads_by_name(trained: Path, exported: dict[str, dict[str, Any]]) -> None:
    heavy = {"torch", "numpy", "hydra"}
    code = f"import sys, kdistill; print(sorted({{name.split('.')[0] for name in sys.modules}} & {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "[]\n"
    model = kdistill.load(trained / "export" / "onnx")
    with pytest.raises(UserError, match="a device file is not exported again"):
        model.export("onnx")
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        kdistill.lode  # noqa: B018


@pytest.mark.slow
def test_the_check_passes_in_a_fresh_environment_with_numpy_and_onnxruntime_alone(
    trained: Path, exported: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    python, listed = fresh_python(tmp_path / "venv", "onnxruntime", exported["onnx"]["versions"])
    assert "onnxruntime" in listed and not {"torch", "kdistill", "onnx"} & listed
    for name in exported:
        assert checked_by(python, trained / "export" / name, tmp_path / name).startswith("pass: 8 pictures")


@pytest.mark.slow
def test_torchs_own_file_is_tested_and_checked_like_the_others(trained: Path, tmp_path: Path) -> None:
    words = [f"run={trained}", "format=torch_export", "layout=nhwc", f"output={tmp_path}"]
    (manifest,) = export(compose_config([*words, f"dataset.cache={trained.parent / 'cache'}"], "export"))
    assert manifest["verdict"] == "passes" and manifest["input"]["layout"] == "nhwc"
    folder = tmp_path / "torch_export"
    said = json.loads((folder / "student.pt2.json").read_text())
    assert json.loads(said["fingerprint"]) == manifest["fingerprint"]
    assert "torch.export.load" in (folder / "README.md").read_text()
    with pytest.raises(UserError, match=r"student.pt2 is not run here"):
        load(folder)


@pytest.mark.slow
def test_a_file_may_take_pictures_with_their_channels_last(trained: Path, folders: Path, tmp_path: Path) -> None:
    place = {"layout": "nhwc", "output": str(tmp_path), "dataset.cache": str(trained.parent / "cache")}
    (manifest,) = load(trained).export("onnx", **place)
    assert manifest["verdict"] == "passes"
    session = onnxruntime.InferenceSession(str(tmp_path / "onnx" / "student.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 32, 32, 3]
    picture = folders / "test" / "light" / "3.png"
    (one,), (other,) = load(tmp_path / "onnx").predict([picture]), load(trained).predict([picture])
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_the_ranges_of_8_bits_are_found_in_other_ways_too(trained: Path, tmp_path: Path, method: str) -> None:
    options = {"format.onnx_int8.method": method, "calibration.images": 13, "output": str(tmp_path)}
    cache = {"dataset.cache": str(trained.parent / "cache")}
    (manifest,) = load(trained).export("onnx_int8", **options, **cache)
    assert manifest["calibration"] == "13 images of train, by class, seed 0" and manifest["agreement"] > 0.9
