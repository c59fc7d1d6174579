"""The templates, filled in: whatever they are given is escaped, and a value that is missing is an error."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdistill.base.plain_text import printable

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, **values: Any) -> str:
    """A template of `templates/` as HTML.

    Args:
        template: its path there.
        values: what it shows; text of any kind, escaped where it is put.
    """
    return environment().get_template(template).render(values)


@cache
def environment() -> "Environment":
    """Where the templates come from, and how they are filled in."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def fill_in(template: str, **values: Any) -> str:
    """A template of Markdown, which nothing escapes: what people named goes through `markdown_text` before."""
    from jinja2 import Environment, StrictUndefined

    made = Environment(undefined=StrictUndefined, finalize=_finalize, trim_blocks=True, lstrip_blocks=True)
    return made.from_string(template).render(values)


def _finalize(value: Any) -> Any:
    """Plain text printable; what a template has made itself (a subclass of text) as it is."""
    return printable(value) if type(value) is str else value
