"""kdistill: distil a heavy image classifier into a small one, prove that it helped, count the cost."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdistill.exporting.load import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """`kdistill.load`, imported when it is asked for: `import kdistill` takes no time."""
    if name == "load":
        from kdistill.exporting.load import load

        return load
    raise AttributeError(f"module 'kdistill' has no attribute {name!r}")
