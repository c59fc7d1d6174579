"""The report: one HTML file that needs no other, for the screen, the phone and paper."""

from collections.abc import Mapping
from html import escape
from typing import Any

from kdistill.report import facts
from kdistill.report.arms import shown_arms
from kdistill.report.collect import Subject
from kdistill.report.commands import do_again
from kdistill.report.comparison import METHOD, headlines, tables
from kdistill.report.confused import confusion_tables
from kdistill.report.curves import learning_curves
from kdistill.report.elements import contents, document, folded, listed, opened, paragraph, section
from kdistill.report.mistakes import disagreements
from kdistill.report.plots import legend
from kdistill.report.ranking import ranking_curves
from kdistill.report.sweep import sweeps
from kdistill.report.tradeoff import accuracy_against_flops


def report_page(result: Mapping[str, Any], subject: Subject, *, command: str) -> str:
    """The whole page; of a sweep alone the sweep comes first.

    Args:
        result: the comparison of the subject's arms, as `comparison.compare` gives it.
        subject: what the page is about.
        command: that makes this page.
    """
    arms = shown_arms(result, subject.arms)
    names = result["test"]["class_names"]
    first = {"Verdict" if result["pairs"] else "Test": _verdict(result), "Sweep": sweeps(subject.sweeps)}
    parts = {
        **(first if result["pairs"] else dict(reversed(first.items()))),
        "Learning curves": learning_curves(arms),
        "Accuracy and cost": accuracy_against_flops(arms) + facts.cost(arms),
        "Ranking and calibration": ranking_curves(arms, names),
        "Confusion": confusion_tables(arms, names),
        "Disagreement and mistakes": disagreements(arms, names),
        "Settings": facts.settings(arms),
        "Versions": facts.origins(arms),
        "Do it again": do_again(arms, subject, command),
    }
    parts = {title: content for title, content in parts.items() if content}
    key = legend([arm.name for arm in arms])
    charts = ("Learning curves", "Accuracy and cost", "Ranking and calibration")
    sections = [
        section(title, key if title in charts else "", content) if content else "" for title, content in parts.items()
    ]
    return document(result["name"], [_head(result, subject), contents(parts), "<main>", *sections, "</main>"])


def _head(result: Mapping[str, Any], subject: Subject) -> str:
    runs = sum(map(len, subject.arms.values())) + sum(len(swept.left) for swept in subject.sweeps)
    test, classes = result["test"]["samples"], len(result["test"]["class_names"])
    says = f"{runs} finished run{'s' * (runs > 1)}, {test:,} test images of {classes} classes"
    return f"<header><h1>{escape(result['name'])}</h1>{paragraph(says, 'note')}</header>"


def _verdict(result: Mapping[str, Any]) -> str:
    shown = tables(result)
    pairs = sum(bool(pair["metrics"]) for pair in result["pairs"])
    own, compared = shown[: len(shown) - pairs], shown[len(shown) - pairs :]
    notes = listed([f"note: {note}" for note in result["notes"]])
    method = paragraph(METHOD, "note")
    if not pairs:
        return "\n".join([notes, *own, folded("how the intervals are made", method)])
    return "\n".join([listed(headlines(result)), notes, *own, opened(compared, "pairs"), method])
