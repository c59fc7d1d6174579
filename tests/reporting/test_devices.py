"""Device files in a report: what their manifests say, beside the runs that they are made from."""

import io
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kdistill.comparison.estimate import compare
from kdistill.reporting.comparison_forms import markdown, page, print_comparison
from kdistill.reporting.page import report_page
from kdistill.runs.collect import subject_of
from kdistill.runs.comparison import Comparison
from kdistill.runs.device_files import DeviceFile, arm_devices
from kdistill.runs.finished import read_run
from kdistill.runs.folder import RunFolder

MANIFEST: dict[str, Any] = {
    "format": "onnx", "size_bytes": 2_576_866, "verdict": "passes", "metric": "accuracy", "margin": 0.005,
    "test": {"accuracy": 0.8125, "auroc": None}, "test_interval": {"accuracy": [0.75, 0.875], "auroc": None},
    "float_test": {"accuracy": 0.83, "auroc": None}, "difference": {"accuracy": [-0.0175, -0.05, 0.015], "auroc": None},
    "latency_ms": 4.25, "float_latency_ms": 28.5, "latency_on": "a chip, 1 thread, batch 1", "peak_memory_mb": 61,
    "sha256": "of no interest here",
}  # fmt: skip
ODD = {"format": "<b>|$x$\x1b[31m\n", "latency_on": "<script>"}


def hand_over(run: Path, **said: Any) -> Path:
    """An export folder in a run's, as far as a report reads it."""
    manifest = MANIFEST | {"fingerprint": RunFolder(run).record().fingerprint} | said
    file = run / "export" / re.sub(r"\W", "", manifest["format"]) / "manifest.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(manifest))
    return file


@pytest.fixture(scope="module")
def shown(make_run: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, str]:
    """A comparison of two runs with a file that passes, one that fails, one of odd names, one that is damaged."""
    folder = tmp_path_factory.mktemp("runs")
    for role in ("student", "distill"):
        make_run(folder / role, role, curves=False)
    hand_over(folder / "student")
    hand_over(folder / "student", format="broken").write_text("{")
    hand_over(folder / "student", metric="f1", margin=0.01, **ODD)
    hand_over(folder / "distill", format="onnx_int8", verdict="fails", size_bytes=900_000, latency_ms=2.0)
    subject = subject_of([str(folder)], ())
    result = compare(subject.arms, "toy", notes=subject.notes)
    return result, report_page(result, subject, command="report")


def test_a_report_shows_the_files_of_every_run_with_what_was_measured(shown: tuple[Comparison, str]) -> None:
    result, text = shown
    section = text.partition('id="device-files"')[2].partition("</section>")[0]
    rows = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', section, re.DOTALL)
    cells = {name.partition("\n")[0]: row for name, row in rows}
    for said in ("81.25%\n75.00-87.50", "-1.75\n-5.00 .. +1.50", "2.58 MB", "4.25 ms", "28.5 ms", "61 MB", "0.5 pp"):
        assert said in cells["onnx"], said
    assert '<td class="helped">passes</td>' in cells["onnx"] and '<td class="hurt">fails</td>' in cells["onnx_int8"]
    by_latency, by_size = re.findall('<svg[^>]*aria-label="test accuracy by ([^"]*)"', section)
    assert by_latency.startswith("milliseconds") and by_size.startswith("size of the file, MB: ")
    assert "onnx_int8 of net distilled 81.25 % at 2 ms" in by_latency and "float in torch of net" in by_latency
    assert "onnx_int8 of net distilled 81.25 % at 0.9 MB" in by_size and "torch" not in by_size
    assert "Not to be used, for it failed its test: onnx_int8 of net distilled, seed 0." in section
    for whole in (markdown(result), page(result)):
        assert "-5.00 .. +1.50" in whole and "Not to be used" in whole and "on a chip, 1 thread" in whole


def test_a_damaged_manifest_is_named_in_the_report(shown: tuple[Comparison, str]) -> None:
    result, text = shown
    (note,) = [note for note in result.notes if note.startswith("a device file is left out: ")]
    assert "student/export/broken/manifest.json cannot be read as JSON" in note
    assert "device file is left out" in text and len(result.devices) == 3


def test_the_table_fits_into_a_terminal_of_80_columns(shown: tuple[Comparison, str]) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    print_comparison(shown[0], "here", console)
    said = console.export_text()
    assert "0.01 F1" in said and "device files" in said
    tables = said.partition("device files")[2].partition("All test images went")[0]
    assert max(map(len, tables.splitlines())) <= 80


def test_names_in_a_manifest_are_text(shown: tuple[Comparison, str]) -> None:
    result, text = shown
    assert "<b>" not in text and "<script>" not in text and "\x1b" not in text + markdown(result)
    assert r"\<b>\|\$x\$" in markdown(result) and "&lt;b&gt;|$x$" in text


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("[" * 100_000, "manifest.json cannot be read as JSON"),
        ({"verdict": "splendid"}, "is not what a run of this kdistill has written (verdict:"),
        ({"size_bytes": -1}, "(size_bytes:"),
        ({"latency_ms": float("inf")}, "(latency_ms:"),
        ({"difference": {"accuracy": [0.0, 1e300, 0.0]}}, "(difference.accuracy.1:"),
        ({"metric": "charm"}, "is not what an export has written (its figures)"),
        ({"test": {"accuracy": 12.0, "auroc": None}}, "is not what an export has written (its figures)"),
        ({"fingerprint": "of others"}, "is of other weights than its run: export it again, or remove its folder"),
    ],
)
def test_a_damaged_manifest_stops_nothing(make_run: Any, tmp_path: Path, damage: Any, said: str) -> None:
    run = make_run(tmp_path / "run", "student")
    hand_over(run, format="whole")
    file = hand_over(run)
    file.write_text(damage if isinstance(damage, str) else json.dumps(json.loads(file.read_text()) | damage))
    devices, (note,) = arm_devices({"net": [read_run(run)]})
    assert [one.file.format for one in devices] == ["whole"] and said in note and str(run / "export") in note


def test_what_a_report_reads_is_what_an_export_writes() -> None:
    from kdistill.exporting.manifest import Manifest

    assert {field.name for field in fields(DeviceFile)} <= Manifest.__annotations__.keys()
