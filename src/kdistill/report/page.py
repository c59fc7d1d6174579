"""The report: one HTML file that needs no other, for the screen, the phone and paper."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from kdistill.finished import FinishedRun
from kdistill.report import facts
from kdistill.report.arms import Arm, shown_arms
from kdistill.report.comparison import METHOD, headlines, sheets
from kdistill.report.confused import confusion_tables
from kdistill.report.curves import learning_curves
from kdistill.report.elements import contents, document, listed, opened, paragraph, section, table
from kdistill.report.mistakes import disagreements
from kdistill.report.plots import legend
from kdistill.report.ranking import ranking_curves
from kdistill.report.sweep import sweeps
from kdistill.report.tradeoff import accuracy_against_flops


def report_page(result: Mapping[str, Any], runs: Mapping[str, Sequence[FinishedRun]], *, command: str) -> str:
    """The whole page.

    Args:
        result: the comparison of the runs, as `comparison.compare` gives it.
        runs: what was compared, by arm.
        command: that makes this page.
    """
    arms = shown_arms(result, runs)
    names = result["test"]["class_names"]
    parts = {
        "Verdict": _verdict(result),
        "Sweep": sweeps(arms),
        "Learning curves": learning_curves(arms),
        "Accuracy and cost": accuracy_against_flops(arms) + facts.cost(arms),
        "Ranking and calibration": ranking_curves(arms, names),
        "Confusion": confusion_tables(arms, names),
        "Disagreement and mistakes": disagreements(arms, names),
        "Settings": facts.settings(arms),
        "Versions": facts.origins(arms),
        "Do it again": facts.do_again(arms, command),
    }
    parts = {title: content for title, content in parts.items() if content}
    key = legend([arm.name for arm in arms])
    charts = ("Learning curves", "Accuracy and cost", "Ranking and calibration")
    sections = [
        section(title, key if title in charts else "", content) if content else "" for title, content in parts.items()
    ]
    return document(result["name"], [_head(result, arms), contents(parts), "<main>", *sections, "</main>"])


def _head(result: Mapping[str, Any], arms: Sequence[Arm]) -> str:
    runs = sum(len(arm.runs) for arm in arms)
    test, classes = result["test"]["samples"], len(result["test"]["class_names"])
    facts = f"{runs} finished run{'s' * (runs > 1)}, {test:,} test images of {classes} classes"
    return f"<header><h1>{escape(result['name'])}</h1>{paragraph(facts, 'note')}</header>"


def _verdict(result: Mapping[str, Any]) -> str:
    tables = [table(sheet.title, sheet.columns, sheet.rows) for sheet in sheets(result)]
    pairs = sum(bool(pair["metrics"]) for pair in result["pairs"])
    own, compared = tables[: len(tables) - pairs], tables[len(tables) - pairs :]
    notes = listed([f"note: {note}" for note in result["notes"]])
    return "\n".join([listed(headlines(result)), notes, *own, opened(compared, "pairs"), paragraph(METHOD, "note")])
