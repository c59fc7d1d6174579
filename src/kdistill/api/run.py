"""`kdistill.Run`: a finished run, with what can be done with it."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdistill.base.run_paths import find_run
from kdistill.config.tree import plain
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import Figures, RunRecord

if TYPE_CHECKING:
    from torch import nn

    from kdistill.exporting.classifier import Classifier
    from kdistill.exporting.manifest import Manifest
    from kdistill.runs.comparison import Comparison


class Run:
    """A finished run.

    Attributes:
        folder: where it lies.
        allow: what its config may name besides the closed list.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        allow: Sequence[str] = (),
        student: Any = None,
        teacher: Any = None,
        data: Any = None,
    ) -> None:
        """Opens a run.

        Args:
            folder: a finished run's folder, or one above just one.
            allow: what else its config may name: callables by their path, or packages of your own.
            student: where the run was given objects, the same again; its weights are read from the folder.
            teacher: likewise.
            data: likewise.

        Raises:
            UserError: there is no finished run, or an object is given that it does not need.
        """
        self.folder = find_run(str(folder), "folder")
        self.allow = tuple(allow)
        self._run = RunFolder.open(self.folder)
        given = {"student": student, "teacher": teacher, "data": data}
        for key, thing in given.items():
            if thing is not None:
                from kdistill.api.objects import give_again

                section = self._run.config().get("dataset" if key == "data" else key)
                give_again({} if section is None else plain(section), key, thing)

    def __repr__(self) -> str:
        record = self.record
        return f"Run({str(self.folder)!r}: {record.label}, test accuracy {record.test['accuracy']:.2%})"

    @cached_property
    def record(self) -> RunRecord:
        """All that the run says of itself (`summary.json`): figures, cost, data, teacher, times, versions."""
        return self._run.record()

    @property
    def figures(self) -> dict[str, Figures]:
        """Figures of the checkpoint that validation chose: `figures["test"]["accuracy"]`, a share of 0 to 1.

        By `val` and `test`, with a teacher also `teacher_val` and `teacher_test`; each has accuracy, f1, auroc and so
        on (0 to 1), nll and ece (0 or more); NaN where one is not defined.
        """
        found = {"val": self.record.val, "test": self.record.test}
        if (taught := self.record.teacher) is not None:
            found |= {f"teacher_{part}": own for part, own in (("val", taught.val), ("test", taught.test)) if own}
        return found

    @cached_property
    def student(self) -> "Classifier":
        """What answers: `student.predict(["a.jpg"])`, in torch; the trained network with its preprocessing.

        Raises:
            UserError: its network was an object, which this process does not have.
        """
        from kdistill.exporting.load import load

        return load(self.folder, allow=self.allow)

    @cached_property
    def network(self) -> "nn.Module":
        """The trained network itself, in eval mode: normalised images (N, C, H, W) float32 in, logits (N, K) out.

        `record.input` has the mean and the standard deviation that images in 0..1 are normalised by.
        """
        from kdistill.building.stored import stored_config, stored_network

        config = stored_config(self._run, self.record, list(self.allow))
        return stored_network(self._run, config, self.record, allowed=list(self.allow)).network.eval()

    def export(self, *formats: str, **keys: Any) -> "list[Manifest]":
        """Writes device files and tests each in its own runtime, as `python -m kdistill.export` does.

        Args:
            formats: such as `onnx_int8`; onnx if none is given.
            keys: of that command: `margin=0.01`, `layout="nhwc"`.

        Returns:
            A manifest of each: its `folder`, its `verdict` (passes, fails or inconclusive), its figures.

        Raises:
            UserError: a format is not installed, or the run's data or network are not to be had.
        """
        if self.allow:
            keys.setdefault("allow", list(self.allow))
        return self.student.export(*formats, **keys)

    def compare(self, seeds: int = 3, **keys: Any) -> "Comparison":
        """Did distilling help? Trains what is missing of this run's arms and holds them against each other.

        As `python -m kdistill.compare` does: the distilled student and its controls, each with so many seeds, in
        `outputs/compare/`, with a report. Runs of objects train one after another in this process.

        Args:
            seeds: of each arm, 1 or more.
            keys: of that command: `controls=["scratch"]`, `jobs=2`.

        Returns:
            Arms, pairs and their verdicts; `folder` has `comparison.html`.

        Raises:
            UserError: the run does not distill, or a training failed.
        """
        from kdistill.api.compare import compare_run
        from kdistill.building.stored import stored_config

        config = stored_config(self._run, self.record, list(self.allow))
        return compare_run(config, seeds=seeds, allow=self.allow, keys=keys)
