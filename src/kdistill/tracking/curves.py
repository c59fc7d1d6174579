"""metrics.csv, written whole each time: a kill or a full disk leaves the last good one, no half rows."""

import csv
import errno
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from kdistill.base.shortage import cannot_write
from kdistill.base.storage import write_text


class Curves(ExperimentWriter):
    """The rows of a run's metrics.csv, in the place of Lightning's writer, which adds to the file."""

    def __init__(self, folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows that are there, and those to come.

        Args:
            folder: the run's.
            rows: of a run that goes on.
        """
        self.rows: list[Mapping[str, Any]] = list(rows)
        super().__init__(str(folder))

    def _check_log_dir_exists(self) -> None:
        """Lightning removes the old file here; it stays until the next is whole."""

    def save(self) -> None:
        """Writes all rows.

        Raises:
            CannotWrite: the file can't be; the next call tries again.
        """
        rows = [*self.rows, *self.metrics]
        if not rows:
            return
        file = Path(self.metrics_file_path)
        if not file.parent.is_dir():  # which writing would make anew, and seem to go on
            raise cannot_write(file, OSError(errno.ENOENT, "its folder was removed in mid-run"))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=sorted(set().union(*rows)))
        writer.writeheader()
        writer.writerows(rows)
        write_text(file, text.getvalue())
        self.rows, self.metrics = rows, []
