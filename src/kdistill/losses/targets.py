"""What a loss learns from, and what stands in the place of targets that nobody knows."""

from typing import Any, Literal

from torch import nn

from kdistill.base.errors import UserError

# labels: it looks at targets and at no teacher; it sees labelled samples alone. teacher: it looks at no target.
# both: it needs a sample's target beside the teacher's answer, so that a sample without a label says nothing to it.
LearnsFrom = Literal["labels", "teacher", "both"]


def learns_from(part: nn.Module) -> LearnsFrom:
    """What a loss says of itself; one that says nothing learns from the teacher alone, and is held to it."""
    return getattr(part, "learns_from", "teacher")


def _refuse(*_: Any, **__: Any) -> Any:
    raise UserError(
        "a loss looks at targets, and the batch has samples without a label (dataset.unlabeled): take loss=kd, or "
        "dataset.unlabeled=null. A loss of your own that looks at no teacher may say learns_from = 'labels', and sees "
        "labelled samples alone"
    )


class NoTarget:
    """In place of the targets of a batch with unlabelled samples: whoever looks at it is told so."""

    __torch_function__: Any = classmethod(_refuse)
    __getitem__ = __len__ = __iter__ = __index__ = __float__ = __array__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __neg__ = _refuse
    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's own questions, as those of a copy
            raise AttributeError(name)
        return _refuse()
