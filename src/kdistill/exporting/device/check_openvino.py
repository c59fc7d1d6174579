"""Does this device answer as the machine that made the file? `python check.py`; needs numpy and openvino alone."""

# It is copied beside the file and stands alone on a device: what the formats' checks share is written in each.
import json
import re
import sys
import time
from pathlib import Path

import numpy as np

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # else it tells its makers that it is used
import openvino  # noqa: E402


def main() -> int:
    """Runs the golden pictures through the file that lies beside this script; 0 where all is as it should be."""
    here = Path(__file__).resolve().parent
    manifest = json.loads((here / "manifest.json").read_text(encoding="utf-8"))
    exact = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1}
    network = openvino.Core().compile_model(str(here / manifest["file"]), "CPU", exact)
    with np.load(here / "golden.npz", allow_pickle=False) as golden:
        pictures, expected, allowed = golden["image"], golden["logits"], float(golden["tolerance"])
    logits = network({"image": pictures})["logits"]
    gap = float(np.abs(logits - expected).max())
    top = np.sort(expected, axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * allowed  # where two classes are as likely, rounding may choose
    others = int(((logits.argmax(1) != expected.argmax(1)) & clear).sum())
    times = []
    for _ in range(20):
        start = time.perf_counter()
        network({"image": pictures[:1]})
        times.append(1000 * (time.perf_counter() - start))
    status = Path("/proc/self/status")  # of Linux
    peak = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.is_file() else None
    memory = f", {int(peak[1]) / 1024:.0f} MB of memory at most" if peak else ""
    passed = gap <= allowed and not others  # also false where an answer is no number
    word = "pass" if passed else "FAIL"
    print(f"{word}: {len(pictures)} pictures, logits differ by {gap:.2g} (allowed {allowed:.2g}), "
          f"{others} of another class; {np.median(times):.2f} ms a picture{memory}")  # fmt: skip
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
