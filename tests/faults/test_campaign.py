"""A tenth of the campaign of faults, from a seed."""

import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parents[2] / "scripts" / "fault_campaign.py"


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [("kill", "signal"), ("limit", "damage"), ("malformed", "hostile")], ids="-".join)
def test_a_tenth_of_the_campaign_holds(kinds: tuple[str, ...]) -> None:
    command = [sys.executable, str(CAMPAIGN), "--share", ".1", "--jobs", "1", "--kinds", *kinds]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
