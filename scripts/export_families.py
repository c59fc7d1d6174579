"""One small member of each of timm's module files as an ONNX file, held against torch.

    python scripts/export_families.py [family ...] [--json families.json]

Without names all of them (`tests/families.py`), half an hour on a core. A line for each: seconds of the processor, the
largest difference of a logit, how far the pictures' logits differ, or why it can't be exported. Exit code 1 where a
file answers otherwise.
"""

import argparse
import json
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import torch
from torch.onnx._internal.exporter._registration import ONNXRegistry

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from compared_exports import compared, is_equal, spread
from families import FAMILIES

from kdistill.base.errors import UserError
from kdistill.models.build import create_model


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=[], help="names of tests/families.py; none: all")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    given = parser.parse_args()
    if unknown := [name for name in given.families if name not in FAMILIES]:
        parser.error(f"no family {', '.join(unknown)}; there are {', '.join(FAMILIES)}")
    torch.set_num_threads(1)
    # torch's table of ONNX operators, which it reads anew for each export, read once.
    ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))
    found = {}
    for family in given.families or FAMILIES:
        found[family] = of_family(family)
        print(f"{family:28}", *(f"{key} {value}" for key, value in found[family].items()), flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    verdicts = [one["verdict"] for one in found.values()]
    print(", ".join(f"{verdicts.count(word)} {word}" for word in sorted(set(verdicts))))
    return int("differs" in verdicts)


def of_family(family: str) -> dict[str, str]:
    """What became of a family's member."""
    name, size, options = FAMILIES[family]
    start = time.process_time()
    about = {"member": name, "size": str(size)}
    try:
        with tempfile.TemporaryDirectory() as folder:
            network = create_model(name, num_classes=5, in_chans=3, **options)
            difference, spread_of_answers = compared(spread(network), size, Path(folder))
    except UserError as error:
        return {"verdict": "refused", **about, "reason": str(error)}
    word = "equal" if is_equal(difference, spread_of_answers) and spread_of_answers > 1e-4 else "differs"
    seconds = f"{time.process_time() - start:.1f}"
    figures = {"cpu_s": seconds, "difference": f"{difference:.2g}", "spread": f"{spread_of_answers:.2g}"}
    return {"verdict": word, **about, **figures}


if __name__ == "__main__":
    raise SystemExit(main())
