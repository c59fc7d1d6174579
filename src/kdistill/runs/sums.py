"""Sums of the text files that a finished run is read by: `sums.json`, so that a digit that changes is noticed.

A figure with another digit is a figure still, and no reader could tell. What holds arrays has sums of its own.
"""

from pathlib import Path

from xxhash import xxh3_64_hexdigest

from kdistill.base.bounded import read_bounded
from kdistill.base.errors import UserError
from kdistill.base.run_paths import CONFIG, SUMMARY
from kdistill.base.storage import write_json
from kdistill.runs.stored_json import read_json

CURVES, FILE = "metrics.csv", "sums.json"


def write_sums(folder: Path, summary: str) -> None:
    """Writes the sums of a run's text files; the summary is the one that is not written yet."""
    found = {name: read_bounded(folder / name) for name in (CONFIG, CURVES) if (folder / name).is_file()}
    content = {name: xxh3_64_hexdigest(text) for name, text in {**found, SUMMARY: summary.encode()}.items()}
    write_json(folder / FILE, content)


def check_sum(path: Path, mend: str) -> None:
    """Checks that a file of a finished run is as the run has written it; without `sums.json` nothing is known.

    Args:
        path: the file; where it is not there nothing is wrong.
        mend: what to do where it is another.

    Raises:
        UserError: it is another, or `sums.json` is damaged.
    """
    sums = path.parent / FILE
    if not sums.is_file() or not path.is_file():
        return
    known = read_json(sums, mend)
    if not isinstance(known, dict) or not all(isinstance(text, str) for text in known.values()):
        raise UserError(f"{sums} is not what a run of this kdistill has written: {mend}")
    try:
        found = xxh3_64_hexdigest(read_bounded(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; {mend}") from error
    if path.name in known and known[path.name] != found:
        raise UserError(
            f"{path} is not what its run has written (its sum is not the one in {FILE}): {mend}; where you changed it "
            f"with intent, remove {sums}"
        )
