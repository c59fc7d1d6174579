"""Everything about a GPU in one command of under ten minutes; `scripts/gpu_suite.sh` calls it.

    tests    the tests marked `gpu`
    main     the main command to its table, teacher included
    bench    scripts/bench_distill.py on the device: replay against the floor
    rates    scripts/bench_rates.py: images per second of teacher and student at 224 px, and who waits for whom

Each part is a process with a time limit; its output is <folder>/<part>.txt. <folder>/gpu.json has all figures, gpu.txt
a page of them. No part keeps another from running.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PARTS = ("tests", "main", "bench", "rates")
SECONDS = {"tests": 140, "main": 120, "bench": 180, "rates": 150}
SCRATCH = "trainer.tune_cache={0}/tuned", "teacher_cache={0}/teachers", "replay.cache={0}/replay"


def commands(given: argparse.Namespace) -> dict[str, list[str]]:
    """Of each part; on a CPU with small sizes."""
    out, python, small = given.out, sys.executable, given.device == "cpu"
    scratch = [word.format(given.scratch) for word in SCRATCH]
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "--dist", "load", "--durations=8"]
    main = ["-m", "kdistill.train", "+experiment=mnist_distill", f"device={given.device}", *scratch]
    bench = ["scripts/bench_distill.py", "--device", given.device, "--json", f"{out}/bench.json"]
    rates = ["scripts/bench_rates.py", "--device", given.device, "--json", f"{out}/rates.json"]
    arms = ["--arms", "replay", "floor"] if small else ["--arms", "online", "replay", "floor"]
    tiny = ["--count", "32", "--size", "64", "--batches", "16", "--epochs", "2"]
    few = ["dataset.limit=1000", "trainer.max_epochs=1", "teacher.recipe_overrides=['trainer.max_epochs=1']"]
    return {
        "tests": [python, *tests, "-n", "0" if small else "6", "tests/gpu", *(["-k", "test_data"] if small else [])],
        "main": [python, *main, f"hydra.run.dir={given.scratch}/main", *(few if small else [])],
        "bench": [python, *bench, *arms, "--epochs", "1" if small else "4", "--root", f"{given.data}/mnist"],
        "rates": [python, *rates, *(tiny if small else [])],
    }


def machine() -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    return {
        "card": torch.cuda.get_device_name() if cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def run_part(name: str, command: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """Its exit code and seconds."""
    environment = {**os.environ, "KDISTILL_GPU_TESTS": given.device, "KDISTILL_DATA": str(given.data)}
    started = time.perf_counter()
    with (given.out / f"{name}.txt").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(SECONDS[name] * (1 if given.device == "cuda" else 4))
        except subprocess.TimeoutExpired:
            code = 124
            os.killpg(process.pid, signal.SIGKILL)  # with what it has started, which would disturb the next part
            process.wait()
    return {"exit": code, "seconds": round(time.perf_counter() - started, 1)}


def figures(name: str, given: argparse.Namespace) -> Any:
    """What a part has left to read, shortened; None where it has left nothing."""
    if name == "tests":
        lines = (given.out / "tests.txt").read_text().splitlines()
        return [line for line in lines if line.startswith(("FAILED", "ERROR"))] + lines[-1:]
    file = given.scratch / "main" / "summary.json" if name == "main" else given.out / f"{name}.json"
    if not file.is_file():
        return None
    content = json.loads(file.read_text())
    if name != "main":
        return content
    kept = {key: content[key] for key in ("label", "test", "hardware", "time_s", "versions")}
    return kept | {"teacher": content["teacher"]["test"], "latency_ms": content["cost"]["latency_ms"]}


def page(found: dict[str, Any]) -> str:
    """Its figures for people."""
    lines = [" ".join(f"{key} {value}" for key, value in found["machine"].items())]
    for name in (part for part in PARTS if part in found):
        part = found[name]
        lines.append(f"\n{name}: exit {part['exit']}, {part['seconds']} s")
        values = part["figures"]
        if name == "tests" and values:
            lines += values
        elif name == "main" and values:
            accuracy = f"student {values['test']['accuracy']:.2%}, teacher {values['teacher']['accuracy']:.2%}"
            lines += [accuracy, json.dumps(values["time_s"]), json.dumps(values["hardware"])]
        elif name == "bench" and values:
            seconds = {arm: one["seconds_per_epoch"] for arm, one in values["arms"].items()}
            lines += [f"{arm:10} {value:.4f} s an epoch" for arm, value in seconds.items()]
            if {"replay", "floor"} <= seconds.keys():
                lines.append(f"replay / floor {seconds['replay'] / seconds['floor']:.3f} (aim 1.3)")
        elif name == "rates" and values:
            for row in values:
                shown = (f"{key} {value:.3g}" if isinstance(value, float) else str(value) for key, value in row.items())
                lines.append("; ".join(shown))
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("outputs/gpu"), help="folder of the results")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: only tries it, in small sizes")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    given.out = given.out.resolve()
    given.out.mkdir(parents=True, exist_ok=True)
    given.data = Path(os.environ.get("KDISTILL_DATA", "outputs/data")).resolve()
    found: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as scratch:
        given.scratch = Path(scratch)
        for name in given.parts:
            found[name] = run_part(name, commands(given)[name], given)
            found[name]["figures"] = figures(name, given)
            (given.out / "gpu.json").write_text(json.dumps(found, indent=2) + "\n")
            (given.out / "gpu.txt").write_text(page(found))
    print(page(found))
    sys.exit(any(found[name]["exit"] for name in given.parts))


if __name__ == "__main__":
    main()
