"""kdistill: distil a heavy image classifier into a small one, prove that it helped, count the cost.

    run = kdistill.distill(teacher=my_teacher, student="mobilenetv3_small_100", data="photos/", epochs=20)

All names are imported when they are asked for: `import kdistill` takes no time.
"""

from typing import TYPE_CHECKING, Any

from kdistill.base.lazy import lazy

if TYPE_CHECKING:
    from kdistill import evidence as evidence
    from kdistill import losses as losses
    from kdistill import modules as modules
    from kdistill.api.distill import distill as distill
    from kdistill.api.run import Run as Run
    from kdistill.base.errors import UserError as UserError
    from kdistill.exporting.load import load as load

__version__ = "0.1.0"
__all__ = ["Run", "UserError", "__version__", "distill", "evidence", "load", "losses", "modules"]

_NAMES = {
    "distill": "kdistill.api.distill",
    "Run": "kdistill.api.run",
    "UserError": "kdistill.base.errors",
    "load": "kdistill.exporting.load",
}


def __getattr__(name: str) -> Any:
    return lazy(__name__, name, _NAMES, rooms=("evidence", "losses", "modules"))


def __dir__() -> list[str]:
    return __all__
