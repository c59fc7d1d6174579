"""Charts as SVG that stands in the page itself and takes its colours from the page's style, light or dark."""

import io
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, MaxNLocator

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


def colour(number: int) -> str:
    """The colour of the arm with a number, as a placeholder for the page's variable."""
    return f"#0404{number % COLOURS:02x}"


def marker(number: int) -> str:
    """The marker of an arm: with its colour it tells 64 arms apart, and the first eight in grey too."""
    return _MARKERS[_mark(number)]


def legend(names: Sequence[str]) -> str:
    """One legend for all charts: each arm's marker in its colour."""
    items = (
        f'<li><span aria-hidden="true" style="color:var(--arm-{n % COLOURS})">{_GLYPHS[_mark(n)]}</span> '
        f"{escape(name)}</li>"
        for n, name in enumerate(names)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _mark(number: int) -> int:
    return (number + number // COLOURS) % len(_MARKERS)


def chart(draw: Callable[[Axes], None], *, x: str, y: str, alt: str) -> str:
    """A chart as an `<svg>` element.

    Args:
        draw: puts everything on the axes.
        x, y: what the axes show.
        alt: what a reader who does not see it should know.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": alt}):  # ids are of this chart and the same in every run
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.set_axisbelow(True)
        for patch in (figure.patch, axes.patch):
            patch.set_visible(False)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
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
    inner = re.sub(r' transform="rotate\(-0 [^"]*"|font-family: [^;"]*;? ?', "", inner)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', inner))
    inner = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", inner)
    inner = re.sub(r' (?:d|x|y)="[^"]*"', lambda place: _NUMBER.sub(_rounded, place[0]), inner)
    inner = re.sub("|".join(_VARIABLES), lambda found: f"var({_VARIABLES[found[0]]})", inner)
    inner = re.sub(r"\s*\n\s*", "\n", inner).replace("xlink:href", "href")
    return f'<svg {box[0]} role="img" aria-label="{escape(alt)}">{inner.strip()}'


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
