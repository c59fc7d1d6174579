"""ExecuTorch in float32, by XNNPACK: for phones and boards, in C++, Kotlin and Swift."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kdistill.base.errors import UserError
from kdistill.exporting.executorch_session import METHOD, ExecuTorchSession, silent_executorch
from kdistill.exporting.facts import put_beside
from kdistill.exporting.formats import Format, Source
from kdistill.exporting.manifest import Quantisation

if TYPE_CHECKING:
    from torch.export import ExportedProgram

BUNDLE = "golden.bpte"


class ExecuTorch(Format):
    """One program, for a picture at a time: its memory is planned as it is written."""

    suffix = ".pte"
    packages: ClassVar[tuple[str, ...]] = ("executorch",)
    batch = 1
    check = "check_executorch.py"
    call = "call_executorch.md.j2"

    def write(self, source: Source, path: Path) -> Quantisation | None:
        from kdistill.exporting.device_network import captured

        self.lower(captured(source.network, source.sample, batch=1), path)
        return None

    def lower(self, program: "ExportedProgram", path: Path) -> None:
        """Writes a graph of operators, of one picture.

        Raises:
            UserError: ExecuTorch has no way to say it, or its runtime none to compute it.
        """
        with silent_executorch():
            try:
                made = _lowered(program)
            except Exception as error:  # whatever its passes raise
                raise UserError(
                    f"ExecuTorch has no way to say all of this network: {_lacking(program, error)}"
                ) from error
            known = _kernels()
        plan = made.executorch_program.execution_plan[0]
        if lacking := [one.name for one in plan.operators if f"{one.name}.{one.overload}".rstrip(".") not in known]:
            raise UserError(f"ExecuTorch's runtime can't compute all of this network: {_named(program, lacking)}")
        path.write_bytes(made.buffer)

    def put_metadata(self, path: Path, metadata: Mapping[str, str]) -> None:
        put_beside(path, metadata)

    def put_golden(self, path: Path, pictures: np.ndarray, answers: tuple[np.ndarray, np.ndarray]) -> None:
        with silent_executorch():
            import torch
            from executorch.devtools import BundledProgram
            from executorch.devtools.bundled_program.config import MethodTestCase, MethodTestSuite
            from executorch.devtools.bundled_program.serialize import serialize_from_bundled_program_to_flatbuffer

            pictures_and_answers = zip(*(torch.from_numpy(part).split(1) for part in (pictures, *answers)), strict=True)
            cases = [MethodTestCase([picture], list(given)) for picture, *given in pictures_and_answers]
            bundle = BundledProgram(None, [MethodTestSuite(METHOD, cases)], str(path))
            path.with_name(BUNDLE).write_bytes(serialize_from_bundled_program_to_flatbuffer(bundle))

    def session(self, path: Path, *, threads: int = 1) -> ExecuTorchSession:
        return ExecuTorchSession(path, threads=threads)


def _lowered(program: "ExportedProgram") -> Any:
    """The program with all that XNNPACK can compute given to it."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    return to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()


def _kernels() -> set[str]:
    """The operators that the runtime has, beside XNNPACK's."""
    from executorch.runtime import Runtime

    return {name.removesuffix(".") for name in Runtime.get().operator_registry.operator_names}


def _lacking(program: "ExportedProgram", error: Exception) -> str:
    """The operator that could not be said, and the layer that it is of."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    names = re.findall(r"\baten(?:::|\.)(\w+)", str(error))
    return _named(program, names) if names else lines[-1] if lines else type(error).__name__


def _named(program: "ExportedProgram", operators: Collection[str]) -> str:
    from kdistill.exporting.device_network import operator_in

    names = [name.rpartition("::")[2] for name in operators]
    return operator_in(program, names) or f"the operator {', '.join(sorted(set(operators)))}"
