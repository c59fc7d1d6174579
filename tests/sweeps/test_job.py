"""How a job of a sweep ends."""

import io

import pytest
import torch

from kdistill.sweeps.job import stop_behind


class StoppedWhileWriting(io.RawIOBase):
    """A file whose second write is met by Ctrl-C."""

    writes = 0

    def writable(self) -> bool:
        return True

    def write(self, content: object) -> int:
        self.writes += 1
        if self.writes > 1:
            raise KeyboardInterrupt
        return len(content)  # type: ignore[arg-type]


def test_an_error_that_came_of_ctrl_c_is_a_stop_and_no_failure() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.save({"weight": torch.zeros(100_000)}, StoppedWhileWriting())
    assert isinstance(stop_behind(caught.value), KeyboardInterrupt)
    assert stop_behind(ValueError("a bug")) is None
