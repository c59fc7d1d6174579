"""The sweeps of a report: a picture and the ranking, by validation alone."""

import re
from collections.abc import Sequence

from kdistill.report.elements import figure, folded, panels, paragraph, table
from kdistill.report.sweep_pictures import sweep_chart
from kdistill.report.swept import SweptRuns
from kdistill.sweeps.ranking import Place, shown

_MOST_ROWS = 12


def sweeps(found: Sequence[SweptRuns]) -> str:
    """Each sweep's picture and ranked settings; nothing if there is no sweep."""
    if not found:
        return ""
    says = (
        "All figures here are of validation, by which checkpoints were chosen, the mean over the seeds; and so is the "
        "choice. The rest of this page, test included, is about the chosen settings alone: to look at the test figures "
        "of all and then pick the best would flatter it. A best value at the rim asks for a wider sweep; settings that "
        "differ less than seeds do are equal. To hold single settings against each other on test all the same, name "
        "them: runs=[...] arms=[...]."
    )
    return paragraph(says, "note") + "\n".join(map(_shown, found))


def _shown(swept: SweptRuns) -> str:
    sweep = swept.sweep
    best = f"chosen: {swept.described(sweep.chosen)}, {_number(sweep.means[sweep.chosen])}"
    title = f"{sweep.name}: {sweep.metric} of {len(sweep.values)} settings ({best})"
    edges = [f"{key}={shown(sweep.at(sweep.chosen, key))}" for key in sweep.edges]
    rim = f"At the edge of what was swept: {', '.join(edges)}. A wider sweep may find better." if edges else ""
    rows = [_row(swept, rank, place) for rank, place in enumerate(sweep.ranked, start=1)]
    columns = ("", *sweep.varied, "mean", "lowest to highest", "seeds")
    first, rest = rows[:_MOST_ROWS], rows[_MOST_ROWS:]
    ranking = table("ranked on validation", columns, first, "ranking")
    if rest:
        ranking += folded(f"{len(rest)} more settings", table("ranked on validation, go on", columns, rest, "ranking"))
    picture = panels([figure(title, _scrolling(sweep_chart(sweep)))], "sweep")
    return picture + (paragraph(rim, "note") if rim else "") + ranking


def _scrolling(svg: str) -> str:
    """A picture that is never smaller than it can be read; where the screen is narrower it scrolls."""
    box = re.search(r'viewBox="0 0 ([\d.]+)', svg)
    assert box is not None, "a chart has a viewBox"
    return f'<div class="scroll"><div style="min-width:{float(box[1]):.0f}px">{svg}</div></div>'


def _row(swept: SweptRuns, rank: int, place: Place) -> list[str]:
    figures = swept.sweep.values[place]
    own = [shown(swept.sweep.at(place, key)) for key in swept.sweep.varied]
    spread = f"{_number(min(figures))} to {_number(max(figures))}" if len(figures) > 1 else "-"
    name = f"{rank} (chosen)" if place == swept.sweep.chosen else str(rank)
    return [name, *own, _number(swept.sweep.means[place]), spread, str(len(figures))]


def _number(value: float) -> str:
    return f"{value:.4f}"
