"""Pieces of a page that needs no other file: tables, figures, sections, the frame around them."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

_STYLE = Path(__file__).with_name("page.css")
_MANY, _OPEN = 6, 4
_MARKED = ("helped", "hurt")  # verdicts that have a colour


def document(title: str, body: Iterable[str]) -> str:
    """The whole file."""
    head = '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">'
    style = f"<title>{escape(title)}</title>\n<style>\n{_STYLE.read_text()}</style>"
    inner = "\n".join(body)
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n{style}\n</head>\n<body>\n{inner}\n</body>\n</html>\n'


def slug(title: str) -> str:
    """A title as the name of a place in the page."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def section(title: str, *parts: str) -> str:
    """A part of the page that the table of contents can point to."""
    return f'<section id="{slug(title)}">\n<h2>{escape(title)}</h2>\n' + "\n".join(filter(None, parts)) + "\n</section>"


def contents(titles: Iterable[str]) -> str:
    links = (f'<li><a href="#{slug(title)}">{escape(title)}</a></li>' for title in titles)
    return f'<nav aria-label="Contents"><ul>{"".join(links)}</ul></nav>'


def paragraph(text: str, kind: str = "") -> str:
    return f"<p{_class(kind)}>{escape(text)}</p>"


def listed(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table whose first column names the rows; it scrolls by itself where the screen is narrow."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' if column else "<td></td>" for column in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(map(_cell, others))}</tr>\n' for first, *others in rows
    )
    return framed(title, f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>", kind)


def framed(title: str, inner: str, kind: str = "") -> str:
    """Rows as a table under its title, in a frame that scrolls while the title stays."""
    label = f' aria-label="{escape(title)}"'
    return (
        f'<div><h3>{escape(title)}</h3>\n<div class="scroll" role="region"{label} tabindex="0">'
        f"<table{_class(kind)}{label}>\n{inner}\n</table></div></div>"
    )


def _cell(text: str) -> str:
    return f"<td{_class(text if text in _MARKED else '')}>{escape(text)}</td>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def figure(title: str, content: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{content}</figure>"


def panels(figures: Iterable[str], kind: str = "panels") -> str:
    """Figures side by side, as many as the screen has room for."""
    return f'<div class="{kind}">\n' + "\n".join(figures) + "\n</div>"


def folded(title: str, content: str) -> str:
    """What is there for whoever wants it."""
    return f"<details><summary>{escape(title)}</summary>\n{content}\n</details>"


def opened(parts: Sequence[str], what: str, kind: str = "") -> str:
    """All parts, or where there are many the first ones and the rest to unfold; `what` they are, in the plural."""
    few = len(parts) if len(parts) <= _MANY else _OPEN
    first, rest = ("\n".join(some) if not kind else panels(some, kind) for some in (parts[:few], parts[few:]))
    return first + (folded(f"{len(parts) - few} more {what}", rest) if parts[few:] else "")


def code(text: str) -> str:
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'
