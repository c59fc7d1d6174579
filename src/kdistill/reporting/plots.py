"""Charts as SVG that stands in the page itself and takes its colours from the page's style, light or dark."""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, MaxNLocator

from kdistill.base.plain_text import one_line

COLOURS = 8
_MARKERS, _GLYPHS = "os^DvPX*", "●■▲◆▼✚✖★"
_SIZE = (4.2, 2.9)  # inches of 72 units: small enough to be read on a phone without zooming
_NUMBER = re.compile(r"\d+\.\d{3,}")
# Matplotlib knows colours, not variables: these stand for the variables until the SVG is written.
INK, MUTED, LINE = "#010101", "#020202", "#030303"
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line"}
_VARIABLES |= {f"#0404{n:02x}": f"--arm-{n}" for n in range(COLOURS)}
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.solid_capstyle": "round",
    "path.simplify_threshold": 0.2,
}


@dataclass(frozen=True)
class Chart:
    """A chart as an `<svg>` element, and what stands above it."""

    title: str
    svg: str

    @property
    def width(self) -> int:
        """Of the chart at its own size, in units of the page."""
        box = re.search(r'viewBox="0 0 ([\d.]+)', self.svg)
        assert box is not None, "a chart has a viewBox"
        return round(float(box[1]))


@dataclass(frozen=True)
class LegendEntry:
    """An arm's name with its marker and the number of its colour."""

    name: str
    glyph: str
    colour: int


def colour(number: int) -> str:
    """The colour of the arm with a number, as a placeholder for the page's variable."""
    return f"#0404{number % COLOURS:02x}"


def marker(number: int) -> str:
    """The marker of an arm: with its colour it tells 64 arms apart, and the first eight in grey too."""
    return _MARKERS[_mark(number)]


def legend(names: Sequence[str]) -> list[LegendEntry]:
    """One legend for all charts."""
    return [LegendEntry(name, _GLYPHS[_mark(n)], n % COLOURS) for n, name in enumerate(names)]


def label(text: str) -> str:
    """A name as text of a chart, also where matplotlib would read `$...$` in it as a formula."""
    return one_line(text).replace("$", r"\$")


def _mark(number: int) -> int:
    return (number + number // COLOURS) % len(_MARKERS)


def chart(draw: Callable[[Axes], None], *, x: str, y: str, alt: str) -> str:
    """A chart as an `<svg>` element.

    Args:
        draw: puts everything on the axes.
        x, y: what the axes show, as text.
        alt: what a reader who does not see it should know.
    """
    alt = one_line(alt)
    with mpl.rc_context({**_STYLE, "svg.hashsalt": alt}):  # ids are of this chart and the same in every run
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.set_axisbelow(True)
        for patch in (figure.patch, axes.patch):
            patch.set_visible(False)
        axes.set_xlabel(label(x))
        axes.set_ylabel(label(y))
        draw(axes)
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "linear" and isinstance(axis.get_major_locator(), AutoLocator):
                axis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
        written = io.StringIO()
        FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None})
    return _inline(written.getvalue(), alt)


def _inline(svg: str, alt: str) -> str:
    """Matplotlib's file as an element: no prolog, metadata, style or name that the page does not use."""
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None, "matplotlib writes a viewBox"
    inner = svg[svg.index(">", box.end()) + 1 :]
    inner = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", inner, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', inner))
    inner = re.sub(r"<[^>]*>", lambda tag: _slim(tag[0], used), inner)  # text has its own `<` and `>` escaped
    inner = re.sub(r"\s*\n\s*", "\n", inner)
    return f'<svg {box[0]} role="img" aria-label="{escape(alt)}">{inner.strip()}'


def _slim(tag: str, used: set[str]) -> str:
    tag = re.sub(r' transform="rotate\(-0 [^"]*"|font-family: [^;"]*;? ?', "", tag)
    tag = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", tag)
    tag = re.sub(r' (?:d|x|y)="[^"]*"', lambda place: _NUMBER.sub(_rounded, place[0]), tag)
    tag = re.sub("|".join(_VARIABLES), lambda found: f"var({_VARIABLES[found[0]]})", tag)
    return tag.replace("xlink:href", "href")


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
