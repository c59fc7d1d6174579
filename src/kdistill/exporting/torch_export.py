"""torch.export's own file: for PyTorch on a server, and to go on from to other runtimes."""

from collections.abc import Mapping
from pathlib import Path

from kdistill.exporting.facts import put_beside
from kdistill.exporting.formats import Format, Session, Source, quiet


class TorchExport(Format):
    """A graph of operators with its weights; whoever loads it trusts it as a program, so `kdistill.load` does not."""

    suffix = ".pt2"
    check = "check_torch_export.py"
    call = "call_torch_export.md.j2"

    def write(self, source: Source, path: Path) -> None:
        import torch

        from kdistill.exporting.device_network import captured

        with quiet():
            torch.export.save(captured(source.network, source.sample), path)

    def put_metadata(self, path: Path, metadata: Mapping[str, str]) -> None:
        put_beside(path, metadata)

    def session(self, path: Path, *, threads: int = 1) -> Session:
        import torch

        from kdistill.exporting.torch_session import TorchSession

        return TorchSession(torch.export.load(path).module(), threads=threads)
