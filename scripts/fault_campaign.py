"""Breaks what can be broken, and counts what holds: `python scripts/fault_campaign.py`.

Kills and signals at random moments, full disks and little memory, damaged and malformed files, foreign run folders.
A trial holds where nobody sees a traceback, where the exit code says what happened, and where the result, after the
same command was given again, equals that of an unbroken run to the bit. Every trial follows from the seed: a failure
is shown with what repeats it. Half an hour on two cores; `--share .1` is a tenth of it.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from faults.damages import damages
from faults.doors import run_door, start_server
from faults.ends import kills, signals
from faults.hostile import hostile
from faults.limits import limits
from faults.malformed import malformed
from faults.workload import RUN, Reference, Trial, make_pictures

_KINDS = {
    "kill": (kills, 40),
    "signal": (signals, 10),
    "limit": (limits, 30),
    "damage": (damages, 40),
    "malformed": (malformed, 250),
    "hostile": (hostile, 70),
}


def reference_run(folder: Path) -> Reference:
    """The run that nobody disturbs."""
    make_pictures(folder)
    seconds = []
    for _ in range(2):  # the first one waits for the server's imports
        for place in ("run", "teachers", "replay", "decoded"):
            shutil.rmtree(folder / place, ignore_errors=True)
        began = time.perf_counter()
        done = run_door("train", RUN, folder)
        seconds.append(time.perf_counter() - began)
        if done.code or done.broken:
            raise SystemExit(f"the undisturbed run ends with {done.code}:\n{done.text}")
    return Reference(folder, seconds[-1])


def attempt(trial: Trial) -> str:
    """One trial in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="kdistill-fault-", ignore_cleanup_errors=True) as folder:
        return trial.run(Path(folder))


def campaign(kinds: Sequence[str], share: float, seed: int, jobs: int) -> int:
    """Runs the trials; returns how many did not hold."""
    start_server()
    held: Counter[str] = Counter()
    failed: list[tuple[Trial, str]] = []
    with tempfile.TemporaryDirectory(prefix="kdistill-fault-") as folder, ThreadPoolExecutor(jobs) as pool:
        reference = reference_run(Path(folder))
        print(f"the undisturbed run takes {reference.seconds:.1f} s", flush=True)
        began = time.perf_counter()
        for kind in kinds:
            make, count = _KINDS[kind]
            trials = list(make(reference, random.Random(f"{seed} {kind}"), max(1, round(share * count))))
            for trial, wrong in zip(trials, pool.map(attempt, trials), strict=True):
                held[kind] += not wrong
                if wrong:
                    failed.append((trial, wrong))
                    print(f"  {kind}: {trial.name}: {wrong[:400]}", flush=True)
            print(f"{kind:10} {held[kind]:4} of {len(trials):4} hold, {time.perf_counter() - began:.0f} s", flush=True)
    tracebacks = sum("traceback" in wrong for _, wrong in failed)
    wrongs = sum("wrong result" in wrong for _, wrong in failed)
    print(f"{sum(held.values())} hold, {len(failed)} do not: {tracebacks} tracebacks, {wrongs} wrong results")
    return len(failed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the trials (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of moments, places and changes")
    parser.add_argument("--kinds", nargs="+", choices=_KINDS, default=list(_KINDS), help="of fault")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time")
    given = parser.parse_args()
    raise SystemExit(campaign(given.kinds, given.share, given.seed, given.jobs) > 0)


if __name__ == "__main__":
    main()
