"""Does this device answer as the machine that made the file? `python check.py`; needs numpy, executorch and torch."""

# It is copied beside the file and stands alone on a device: what the formats' checks share is written in each.
import json
import re
import time
from pathlib import Path

import numpy as np
import torch  # executorch's runtime for Python stands on it, and does not bring it
from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
from executorch.runtime import Runtime


def main() -> int:
    """Runs the golden pictures through the file that lies beside this script; 0 where all is as it should be."""
    here = Path(__file__).resolve().parent
    manifest = json.loads((here / "manifest.json").read_text(encoding="utf-8"))
    _unsafe_reset_threadpool(1)
    program = Runtime.get().load_program(here / manifest["file"])
    network = program.load_method("forward")
    with np.load(here / "golden.npz", allow_pickle=False) as golden:
        pictures, expected, allowed = golden["image"], golden["logits"], float(golden["tolerance"])
    # One picture at a time: its memory was planned so.
    logits = np.concatenate([network.execute((one,))[1].numpy() for one in torch.from_numpy(pictures).split(1)])
    gap = float(np.abs(logits - expected).max())
    top = np.sort(expected, axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * allowed  # where two classes are as likely, rounding may choose
    others = int(((logits.argmax(1) != expected.argmax(1)) & clear).sum())
    times = []
    for _ in range(20):
        start = time.perf_counter()
        network.execute((torch.from_numpy(pictures[:1]),))
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
