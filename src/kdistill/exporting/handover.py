"""The folder that is handed over: the file, what was measured of it, golden cases, a check for the device, a card."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from kdistill.base.errors import UserError
from kdistill.base.storage import file_digest, write_json, write_npz, write_text
from kdistill.exporting.card import card
from kdistill.exporting.facts import DeviceFacts
from kdistill.exporting.formats import Format, Session
from kdistill.exporting.manifest import Manifest, Quantisation
from kdistill.exporting.verify import Verified
from kdistill.runs.record import RunRecord

MANIFEST, GOLDEN, CHECK = "manifest.json", "golden.npz", "check.py"
_SCRIPTS = Path(__file__).with_name("device")
_PATIENCE = 600  # seconds that the check may take


@dataclass(frozen=True)
class Handover:
    """What a folder is made of.

    Attributes:
        name: of the format.
        format: that writes and runs the file.
        facts: what the file says of itself; without verdict and figures yet.
        verified: what was measured.
        golden: (n, ...) test pictures.
        metric: that the verdict is about; `margin` its own.
        calibration: what the ranges of activations come from, in words; None where there are none.
        record: of the run.
        quantisation: how a file of 8 bits came to be; None of others.
    """

    name: str
    format: Format
    facts: DeviceFacts
    verified: Verified
    golden: np.ndarray
    metric: str
    margin: float
    calibration: str | None
    record: RunRecord
    quantisation: Quantisation | None = None

    def fill(self, folder: Path, file: Path, session: Session) -> Manifest:
        """Writes all that lies beside the file, and runs the check.

        Args:
            folder: to write to.
            file: in it; its metadata are complete.
            session: the file, loaded.

        Returns:
            The manifest.

        Raises:
            UserError: the golden cases do not come out as they should.
        """
        probabilities, logits = session.run(self.golden)
        spread = float(logits.max() - logits.min())
        write_npz(
            folder / GOLDEN,
            {"image": self.golden, "logits": logits, "tolerance": np.array(self.format.tolerance * max(spread, 1.0))},
            compressed=True,
        )
        self.format.put_golden(file, self.golden, (probabilities, logits))
        shutil.copyfile(_SCRIPTS / self.format.check, folder / CHECK)
        manifest = self._manifest(file)
        write_json(folder / MANIFEST, manifest)
        said = checked(folder)
        found = re.search(r"(\d+) MB of memory", said)
        manifest["peak_memory_mb"] = int(found[1]) if found else None
        write_json(folder / MANIFEST, manifest)
        write_text(folder / "README.md", card(manifest, self.record, self.format.call))
        return manifest

    def _manifest(self, file: Path) -> Manifest:
        verified, found = self.verified, self.verified.found
        return {
            "format": self.name,
            "file": file.name,
            "size_bytes": sum(part.stat().st_size for part in self.format.files(file)),
            "sha256": file_digest(file),
            "further": {part.name: file_digest(part) for part in self.format.files(file)[1:]},
            "run": self.facts.run,
            "label": self.facts.label,
            "fingerprint": self.facts.fingerprint,
            "classes": list(self.facts.classes),
            "input": asdict(self.facts.input),
            "threshold": self.facts.threshold,
            "verdict": found.verdict,
            "reason": found.reason,
            "metric": self.metric,
            "margin": self.margin,
            "more_test_images": found.more_samples,
            "test_images": self.record.data.test,
            "test": verified.test,
            "test_interval": {name: [one.low, one.high] if one else None for name, one in found.figures.items()},
            "float_test": verified.float_test,
            "difference": {
                name: [one.mean, one.low, one.high] if one else None for name, one in found.differences.items()
            },
            "agreement": found.agreement,
            "largest_logit_difference": found.largest_logit_difference,
            "only_float_right": found.only_network_right,
            "only_file_right": found.only_file_right,
            "mcnemar_p": found.mcnemar_p,
            "latency_ms": verified.latency.median,
            "latency_quartiles_ms": [verified.latency.low, verified.latency.high],
            "float_latency_ms": verified.float_latency.median,
            "float_latency_quartiles_ms": [verified.float_latency.low, verified.float_latency.high],
            "latency_on": f"{_processor()}, 1 thread, batch 1",
            "calibration": self.calibration,
            "quantisation": self.quantisation,
            "versions": self.facts.versions,
        }


def checked(folder: Path) -> str:
    """What a folder's own check says, in a process of its own as on a device.

    Raises:
        UserError: it does not pass.
    """
    command = [sys.executable, "-I", str(folder.resolve() / CHECK)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    said = (done.stdout or done.stderr).strip().splitlines()
    if done.returncode:
        raise UserError(f"the golden cases of {folder} do not pass: {said[-1] if said else done.returncode}")
    return said[-1]


def _processor() -> str:
    """What the machine calls its processor."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        return found[1] if found else hashlib.sha256(text.encode()).hexdigest()[:8]
    except OSError:
        import platform

        return platform.processor() or platform.machine()
