"""What a run folder holds; it is read and written here only.

config.yaml             the resolved configuration, plain
metrics.csv             curves, one row per epoch
summary.json            figures, cost, fingerprints, seed, wall time, versions
sums.json               of these three: a sum of each
pruned.json             instead of it, of a trial that its search gave up: metric, value, epoch, trial
predictions.npz         test: index (N,), target (N,), logits (N, K); teacher_logits (N, K) if there was a teacher
val_predictions.npz     the same of validation
mistakes.npz            some test images that teacher or student got wrong: index (M,), image (M, C, H, W) uint8
checkpoints/            best.ckpt (chosen on validation) and last.ckpt
rounding/               with quantize=int8: checkpoints/ and metrics.csv of the part in 8 bits
student.safetensors     the chosen weights (teacher.safetensors for a teacher)
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from omegaconf import DictConfig, OmegaConf

from kdistill.base.errors import UserError
from kdistill.base.run_paths import CONFIG, SUMMARY, lacking
from kdistill.base.storage import as_json, write_npz, write_text, writing_problem
from kdistill.base.types import Role
from kdistill.config.key_identity import GOING_ON, SAME_JOB, Question, that_count
from kdistill.config.tree import as_written
from kdistill.runs.hold import LOCK, NOTE, held, refuse_second
from kdistill.runs.record import RunRecord
from kdistill.runs.record_file import as_plain, from_plain
from kdistill.runs.stored_answers import mistakes_in, predictions_in
from kdistill.runs.stored_config import check_types, read_config
from kdistill.runs.stored_curves import read_curves
from kdistill.runs.stored_json import read_json
from kdistill.runs.sums import CURVES, check_sum, write_sums

_ELSEWHERE = "give another folder (hydra.run.dir=..., with -m hydra.sweep.dir=...) or remove that one"


class RunFolder:
    """One run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, config: DictConfig) -> "RunFolder":
        """A run's folder, begun; see `check` and `begin`."""
        folder = cls(path)
        folder.check(config)
        folder.begin(config)
        return folder

    def check(self, config: DictConfig) -> None:
        """Checks that a run may begin or go on here; makes nothing.

        Raises:
            UserError: a finished run lies there already, or one that another config began, or a process trains there
                now, or nothing can be written.
        """
        refuse_second(self.path)
        self._check_content(config)

    @contextmanager
    def held(self, config: DictConfig) -> Iterator[None]:
        """A block in which this process alone writes here, for a run of a config that may begin or go on.

        Raises:
            UserError: as `check` does.
        """
        with held(self.path):
            self._check_content(config)  # what held it until now may have finished its run
            yield

    def _check_content(self, config: DictConfig) -> None:
        if self.finished:
            raise UserError(f"{self.path} holds a finished run; {_ELSEWHERE}")
        if wrong := writing_problem(self.path):
            raise UserError(f"{self.path} cannot be the run's folder: {wrong}; give hydra.run.dir=<another folder>")
        if self.last_checkpoint is not None and (changed := self.changed(config)):
            raise UserError(
                f"{self.path} holds a run that another config began and did not finish; to go on with it, give that "
                f"config again ({self.path / 'config.yaml'}). It differs in: {'; '.join(changed)}. Else {_ELSEWHERE}"
            )

    def begin(self, config: DictConfig) -> None:
        """Makes the folder, with the run's config in it."""
        self.path.joinpath("pruned.json").unlink(missing_ok=True)  # it is started again, to be trained to its end
        write_text(self.path / CONFIG, OmegaConf.to_yaml(config, resolve=True))

    def forget(self) -> None:
        """Takes away what `begin` made, where nothing beside it is worth a folder: no epoch was over."""
        if self.path.is_dir() and {path.name for path in self.path.iterdir()} <= {CONFIG, LOCK, NOTE}:
            for name in (CONFIG, NOTE, LOCK):
                (self.path / name).unlink(missing_ok=True)
            self.path.rmdir()

    def begun_by(self, config: DictConfig) -> bool:
        """Whether this folder's run was started with this very config; what only reports or stores does not count."""
        path = self.path / CONFIG
        return path.is_file() and not _differences(self.config(), config, SAME_JOB)

    def changed(self, config: DictConfig) -> list[str]:
        """What of a config keeps it from going on with this folder's unfinished run: `key: value then, value now`."""
        if not (self.path / CONFIG).is_file():
            return ["there is no config.yaml"]
        return _differences(self.config(), config, GOING_ON)

    @property
    def last_checkpoint(self) -> Path | None:
        """Where a killed run can go on; None where there is nothing yet."""
        path = self.checkpoints / "last.ckpt"
        return path if path.is_file() else None

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """A finished run's folder.

        Raises:
            UserError: there is no finished run.
        """
        folder = cls(path)
        if missing := lacking(path):
            raise UserError(f"{path} is not a finished run's folder: it lacks {' and '.join(missing)}")
        return folder

    @property
    def finished(self) -> bool:
        """The summary is the last file that a run writes."""
        return (self.path / SUMMARY).is_file()

    @property
    def pruned(self) -> bool:
        """Whether a search gave this run up before its end."""
        return (self.path / "pruned.json").is_file()

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def curves(self, *, until: int | None = None) -> list[dict[str, str]]:
        """Rows of metrics.csv: all, or of a run that goes on those up to a step.

        Raises:
            UserError: a line is not what a run has written.
        """
        rows = read_curves(self.path / CURVES, until, self._mend)
        if until is None and self.finished:
            check_sum(self.path / CURVES, self._mend)
        return rows

    def weights(self, role: Role) -> Path:
        """Where the chosen weights lie."""
        return self.path / ("teacher.safetensors" if role == "teacher" else "student.safetensors")

    def config(self) -> DictConfig:
        """What `config.yaml` holds, as data.

        Raises:
            UserError: the file is not what a run has written.
        """
        path = self.path / CONFIG
        config = read_config(path)
        if self.finished:
            check_sum(path, self._mend)
        check_types(config, path)
        return config

    def record(self) -> RunRecord:
        """What `summary.json` holds; a figure without a value is NaN here and null there.

        Raises:
            UserError: the file is not what a run has written.
        """
        file = self.path / SUMMARY
        content = read_json(file, self._mend)
        check_sum(file, self._mend)
        return from_plain(content, str(file), self._mend)

    @property
    def _mend(self) -> str:
        """What to do with a finished run of which a file is damaged."""
        return f"restore the file, or remove {self.path} and train the run again"

    def write_record(self, record: RunRecord) -> None:
        """The last file of a run: with it the folder is a finished one."""
        text = as_json(as_plain(record))  # JSON has no NaN and no infinity: they become null
        write_sums(self.path, text)
        write_text(self.path / SUMMARY, text)

    def predictions(self, part: Literal["val", "test"]) -> Path:
        """Where the predictions of a partition lie."""
        return self.path / ("predictions.npz" if part == "test" else "val_predictions.npz")

    def write_predictions(self, part: Literal["val", "test"], arrays: Mapping[str, np.ndarray]) -> None:
        write_npz(self.predictions(part), arrays)

    @property
    def mistakes(self) -> Path:
        """Where the test images lie that a report shows."""
        return self.path / "mistakes.npz"

    def write_mistakes(self, index: np.ndarray, image: np.ndarray) -> None:
        """Keeps a few test images: their numbers (M,) and pixels (M, C, H, W) uint8."""
        write_npz(self.mistakes, {"index": index, "image": image}, compressed=True)

    def read_predictions(self, part: Literal["val", "test"], record: RunRecord | None = None) -> dict[str, np.ndarray]:
        """Index (N,), target (N,), logits (N, K) and, where there was a teacher, teacher_logits (N, K), of a partition.

        Args:
            part: which.
            record: the run's, which says how many samples and classes there are; None to read it.

        Raises:
            UserError: the file is not what a run with that record has written.
        """
        return predictions_in(self.predictions(part), part, (record or self.record()).data, self._mend)

    def read_mistakes(self, record: RunRecord) -> dict[str, np.ndarray]:
        """The test images that are kept: index (M,), image (M, C, H, W) uint8.

        Raises:
            UserError: the file is not what a run with that record has written.
        """
        return mistakes_in(self.mistakes, record.data, self._mend)


def _differences(then: DictConfig, now: DictConfig, question: Question) -> list[str]:
    """The keys in which two configs differ, as `config.yaml` gives them back, where that counts."""
    old, new = (that_count(as_written(config), question) for config in (then, now))
    missing = "nothing"
    return [
        f"{key}: {old.get(key, missing)} then, {new.get(key, missing)} now"
        for key in dict.fromkeys((*old, *new))
        if old.get(key, missing) != new.get(key, missing)
    ]
