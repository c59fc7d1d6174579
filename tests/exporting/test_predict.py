"""What `kdistill.predict` and `kdistill.load` say of pictures."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kdistill.base.errors import UserError
from kdistill.config.compose import check_overrides, compose_config
from kdistill.config.words import paths_as_key
from kdistill.data.image_folder import ImageFolder
from kdistill.exporting.answer_forms import Writer
from kdistill.exporting.classifier import Answer
from kdistill.exporting.facts import DeviceInput
from kdistill.exporting.load import load
from kdistill.exporting.pictures import find_pictures, read_picture
from kdistill.exporting.pictures_of_run import pictures_of
from kdistill.predict import job, predict
from kdistill.runs.folder import RunFolder

HEAVY = ("torch", "timm", "torchvision", "pytorch_lightning", "torchmetrics", "onnx", "scipy")


def said(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    predict(compose_config(words, "predict"))
    out, err = capsys.readouterr()
    return out, err


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_test_folder_predicted_gives_the_runs_own_test_accuracy(
    trained: Path, folders: Path, exported: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    record = RunFolder(trained).record()
    assert record.threshold is not None
    by_threshold = {}
    for model in (trained, trained / "export" / "onnx"):
        out, _ = said([f"model={model}", f"images=[{folders / 'test'}]", "form=csv"], capsys)
        table = rows(out)
        assert len(table) == 60
        truth = np.array([Path(row["image"]).parent.name for row in table])
        likeliest = np.array(["light" if float(row["light"]) > float(row["dark"]) else "dark" for row in table])
        assert (likeliest == truth).mean() == record.test["accuracy"]
        by_threshold[model.name] = np.array([row["class"] for row in table])
        assert (by_threshold[model.name] == truth).mean() == record.threshold.test["accuracy"]
    assert (by_threshold["run"] == by_threshold["onnx"]).all()


@pytest.mark.parametrize("value_range", [None, (100.0, 30000.0)], ids=["the training's range", "a given range"])
def test_a_picture_is_read_as_the_run_read_it(value_range: tuple[float, float] | None, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for part in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / part / label).mkdir(parents=True)
            for number, shape in enumerate([(40, 48), (48, 40, 3), (44, 40), (40, 44, 4)]):
                deep = len(shape) == 2 and number == 0
                pixels = random.integers(50, 40000 if deep else 256, shape)
                image = Image.fromarray(pixels.astype(np.uint16 if deep else np.uint8))
                exif = image.getexif()
                exif[0x0112] = 5 + number  # turned, and mirrored
                image.save(tmp_path / part / label / f"{number}.png", exif=exif)
    data = ImageFolder(
        str(tmp_path), cache=str(tmp_path / "cache"), image_size=32, value_range=value_range, batch_size=4,
        eval_batch_size=4, limit=None, views=None, seed=0,
    )  # fmt: skip
    arrays = data.load()
    size = (3, 32, 32)
    wanted = DeviceInput("nchw", *size, arrays.mean, arrays.std, value_range=arrays.value_range)
    files = find_pictures([str(tmp_path / "test")], list)
    read = np.stack([read_picture(file, wanted) for file in files])
    assert len(files) == 8 and (read == pictures_of(arrays.test, np.arange(8), "nchw")).all()


def test_an_onnx_file_answers_without_torch(
    trained: Path, folders: Path, exported: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copy(trained / "export" / "onnx" / "student.onnx", tmp_path / "alone.onnx")  # nothing lies beside it
    code = (
        "import sys, time; from kdistill import predict; predict.main(); "
        "print(sorted({name.split('.')[0] for name in sys.modules}), time.process_time(), file=sys.stderr)"
    )
    picture = folders / "test" / "dark" / "1.png"
    command = [sys.executable, "-c", code, "model=alone.onnx", f"images=[{picture}]", "form=json"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["class"] in ("dark", "light") and sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    modules, seconds = done.stderr.rsplit(maxsplit=1)
    assert "'onnxruntime'" in modules and not [name for name in HEAVY if f"'{name}'" in modules]
    assert float(seconds) < 4  # 1.6 on an idle core


def test_a_broken_picture_is_named_and_skipped(
    trained: Path,
    folders: Path,
    exported: dict[str, dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(folders / "test" / "dark" / "1.png", tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    shutil.copy(folders / "test" / "light" / "1.png", tmp_path / "c.png")
    Image.fromarray(np.full((32, 32), 40000, np.uint16)).save(tmp_path / "d.png")
    words = [f"model={trained / 'export' / 'onnx'}", f"images=[{tmp_path}]", "form=json", "top=1"]
    with pytest.raises(SystemExit) as left:
        job(compose_config(words, "predict"))
    out, err = capsys.readouterr()
    assert left.value.code == 1
    assert [Path(json.loads(line)["image"]).name for line in out.splitlines()] == ["a.png", "c.png"]
    assert all(len(json.loads(line)["probabilities"]) == 1 for line in out.splitlines())
    assert "b.png: not an image (10 bytes)" in err and "d.png: more than 8 bits a pixel" in err
    assert "2 pictures could not be read" in err
    job(compose_config([*words, "skip=ok"], "predict"))
    capsys.readouterr()
    assert predict(compose_config([*words, "max_pixels=1000"], "predict")) == 4
    assert "a.png: " in (refused := capsys.readouterr().err) and "pixels" in refused


def test_the_forms_hold_the_same_answers(
    trained: Path, folders: Path, exported: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"model={trained / 'export' / 'onnx'}", f"images=[{folders / 'test' / 'dark'}/1*.png]", "batch_size=3"]
    table, _ = said(words, capsys)
    listed = rows(said([*words, "form=csv", "top=2"], capsys)[0])
    lines = [json.loads(line) for line in said([*words, "form=json"], capsys)[0].splitlines()]
    assert len(lines) == len(listed) == 11 and "likeliest" in table
    for row, line in zip(listed, lines, strict=True):
        assert (row["image"], row["class"]) == (line["image"], line["class"])
        assert float(row["probability_1"]) == max(line["probabilities"].values())
        assert row["class_1"] == next(iter(line["probabilities"]))


def test_python_takes_files_and_arrays(trained: Path, folders: Path, exported: dict[str, dict[str, Any]]) -> None:
    file = folders / "test" / "light" / "1.png"
    model, run = load(trained / "export" / "onnx"), load(trained)
    (answer,), (other,) = model.predict([file]), run.predict([str(file)])
    assert answer.label == other.label and answer.probability == pytest.approx(other.probability, abs=1e-5)
    array = np.zeros((3, 32, 32), np.uint8)
    assert len(model.predict([array] * 20)) == 20
    with pytest.raises(UserError, match=r"an array of \(28, 28\) uint8 was given: arrays are \(3, 32, 32\) uint8"):
        model.predict([np.zeros((28, 28), np.uint8)])
    assert model.predict([file, "nothere.png"])[1].problem


def test_pictures_are_found_by_file_folder_pattern_and_standard_input(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("a.png", "deep/b.png", "deep/er/c.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)

    def found(*entries: str) -> list[str]:
        return [Path(path).name for path in find_pictures([str(entry) for entry in entries], lambda: ["x.png\n", "\n"])]

    assert found(str(tmp_path)) == ["a.png", "b.png", "c.png"]
    assert found(f"{tmp_path}/**/*.png") == ["a.png", "b.png", "c.png"]
    assert found(f"{tmp_path}/a.png", "-") == ["a.png", "x.png"]
    for nothing in ("nothere.png", str(tmp_path / "*.jpg"), "images"):
        with pytest.raises(UserError, match="images: there is no"):
            find_pictures([nothing], list)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there is no picture in"):
        find_pictures([str(tmp_path / "empty")], list)


def test_a_folder_above_one_export_folder_stands_for_it(
    trained: Path, exported: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"holds several export folders, give one: .*/onnx, .*/onnx_int8"):
        load(trained / "export")
    shutil.copytree(trained / "export" / "onnx", tmp_path / "onnx")
    assert load(tmp_path).facts.format == "onnx"


def test_a_list_on_standard_input_is_a_plain_path_too() -> None:
    assert paths_as_key(["-", "model=a"], "images") == ["model=a", 'images=["-"]']
    with pytest.raises(UserError, match="there is no '-'"):
        paths_as_key(["-"], "runs")


def test_answers_to_a_file_are_lines_whatever_a_picture_is_called(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    answer = Answer("a\udcff" + "b" * 200, "x", 0.75, {"x": 0.75, "y": 0.25})
    for form in ("csv", "json"):
        Writer(form, ["x", "y"], None).add(answer)
    sys.stdout.flush()
    head, row, line = capfdbinary.readouterr().out.splitlines()
    assert head == b"image,class,probability,x,y" and row == b"a\xff" + b"b" * 200 + b",x,0.75,0.75,0.25"
    assert line.startswith(b'{"image": "a\xffbb') and line.endswith(b'"probabilities": {"x": 0.75, "y": 0.25}}')


def test_what_is_no_model_is_refused_in_words(
    trained: Path, exported: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    import onnx

    assert "did you mean 'export'?" in " ".join(check_overrides([f"model={trained / 'exprt'}"], "predict")[1])
    (tmp_path / "student.pt2").touch()
    with pytest.raises(
        UserError, match=r"is not run here: give a finished run's folder, an export folder, or an .onnx"
    ):
        load(tmp_path / "student.pt2")
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"ONNX Runtime can't run .*broken.onnx"):
        load(tmp_path / "broken.onnx")
    model = onnx.load(trained / "export" / "onnx" / "student.onnx")
    said = {one.key: one.value for one in model.metadata_props}
    for changed, reason in (
        ({}, "was not made by kdistill.export"),
        (said | {"classes": '["dark", "light", "third"]'}, "takes or gives something else than it says"),
        (said | {"input": said["input"].replace("32", "64")}, "takes or gives something else than it says"),
        (said | {"input": "[" * 100000}, "was not made by kdistill.export"),
    ):
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, changed)
        onnx.save(model, tmp_path / "other.onnx")
        with pytest.raises(UserError, match=reason):
            load(tmp_path / "other.onnx")
    shutil.copytree(trained / "export" / "onnx", tmp_path / "folder")
    (tmp_path / "folder" / "manifest.json").write_text('{"file": "../../student.onnx"}')
    with pytest.raises(UserError, match="is not what an export has written"):
        load(tmp_path / "folder")
