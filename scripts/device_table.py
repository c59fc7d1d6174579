"""The table of a student's device files: size, latency, accuracy, each beside the float network in torch.

    python scripts/device_table.py outputs/mine [outputs/other ...] [--formats onnx,onnx_int8] [override ...]

Files that are not in a run's export/ yet are exported, with the overrides (dataset.root=..., choice.seconds=600). Then
all of a run's files and its network in torch are timed in turns in this process, one picture on one thread, so that
other work on the machine meets all alike: ratios count. Figures are those of the manifests: the whole test set through
each file's own runtime, the difference paired, with a 95 % interval. --metrics names what is shown beside accuracy.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import kdistill
from kdistill.exporting.timing import Timing, one_thread, time_in_turns

FORMATS = "onnx,onnx_int8,executorch,executorch_int8,openvino,openvino_int8"
HEAD = ("file", "MB", "of float32", "ms (quartiles)", "torch / it", "float32 / it")
TAIL = ("verdict", "8 bits")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+", help="finished runs, then overrides of kdistill.export (words with =)")
    parser.add_argument("--formats", default=FORMATS, help="in the order of the rows")
    parser.add_argument("--metrics", default="auroc", help="of test, beside accuracy")
    given = parser.parse_args()
    runs = [Path(word) for word in given.words if "=" not in word]
    overrides = dict(word.split("=", 1) for word in given.words if "=" in word)
    metrics = ["accuracy", *given.metrics.split(",")]
    for run in runs:
        manifests = exported(run, given.formats.split(","), overrides)
        print("\n".join(table(run, manifests, timed(run, manifests), metrics)), flush=True)


def exported(run: Path, formats: list[str], overrides: Mapping[str, str]) -> dict[str, Any]:
    """The manifests of a run's files by format; those that are missing are made."""
    files = {name: run / "export" / name / "manifest.json" for name in formats}
    if missing := [name for name, file in files.items() if not file.is_file()]:
        kdistill.load(run).export(*missing, **overrides)
    return {name: json.loads(file.read_text()) for name, file in files.items()}


def timed(run: Path, manifests: Mapping[str, Any]) -> dict[str, Timing]:
    """Of one picture on one thread, in turns: the network in torch (""), and each file."""
    models = {"": kdistill.load(run)} | {name: kdistill.load(run / "export" / name) for name in manifests}
    picture = np.random.default_rng(0).integers(0, 256, (1, *models[""].facts.input.shape), dtype=np.uint8)
    with one_thread():
        return time_in_turns({name: lambda one=one: one.session.run(picture) for name, one in models.items()})


def table(run: Path, manifests: Mapping[str, Any], times: Mapping[str, Timing], metrics: list[str]) -> list[str]:
    """Lines of Markdown."""
    first = next(iter(manifests.values()))
    columns = [*HEAD, *(f"{metric} (difference, 95 %)" for metric in metrics), *TAIL]
    pixels = f"{first['input']['height']} x {first['input']['width']} px"
    said = f"**{first['label']}** ({run.name}), {pixels}, {first['test_images']:,} test images, {first['latency_on']}:"
    plain = [f"{first['float_test'][metric]:.2%}" for metric in metrics]
    float_row = ["float in torch", "", "", milliseconds(times[""]), "1", "", *plain, "", ""]
    rows = [row(name, manifests, times, metrics) for name in manifests]
    return ["", said, "", line(columns), "|---" * len(columns) + "|", line(float_row), *map(line, rows)]


def row(name: str, manifests: Mapping[str, Any], times: Mapping[str, Timing], metrics: list[str]) -> list[str]:
    """The cells of one file."""
    manifest, parent = manifests[name], name.removesuffix("_int8")
    ours, beside = times[name].median, parent != name and parent in manifests
    of_float = f"{manifest['size_bytes'] / manifests[parent]['size_bytes']:.3f}" if beside else ""
    faster = f"{times[parent].median / ours:.2f}" if beside else ""
    figures = [f"{manifest['test'][metric]:.2%} ({difference(manifest['difference'][metric])})" for metric in metrics]
    size = f"{manifest['size_bytes'] / 1e6:.3g}"
    cells = [f"`{name}`", size, of_float, milliseconds(times[name]), f"{times[''].median / ours:.2f}", faster]
    return [*cells, *figures, manifest["verdict"], chosen(manifest["quantisation"])]


def difference(found: list[float] | None) -> str:
    """In points, with its interval."""
    if found is None:
        return "unknown"
    mean, low, high = (100 * one for one in found)
    return "0" if mean == low == high == 0 else f"{mean:+.2f}, {low:+.2f} to {high:+.2f}"


def milliseconds(time: Timing) -> str:
    return f"{time.median:.3g} ({time.low:.3g} to {time.high:.3g})"


def chosen(quantisation: Mapping[str, Any] | None) -> str:
    """What validation chose."""
    if quantisation is None:
        return ""
    found = quantisation["chosen"]
    count, room = len(found["float_layers"]), ", room" if found["weights"] else ""
    return f"{found['method']}{room}" + (f", {count} of {quantisation['layers']} layers in float" if count else "")


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
