"""The report: one HTML file that needs no other, for the screen, the phone and paper."""

import re
from dataclasses import dataclass

from kdistill.reporting import facts
from kdistill.reporting.arms import shown_arms
from kdistill.reporting.commands import do_again
from kdistill.reporting.comparison import METHOD, arm_sheets, headlines, pair_sheets
from kdistill.reporting.confused import confusion_tables
from kdistill.reporting.curves import learning_curves
from kdistill.reporting.devices import device_view
from kdistill.reporting.mistakes import disagreements
from kdistill.reporting.plots import legend
from kdistill.reporting.ranking import ranking_curves
from kdistill.reporting.render import render
from kdistill.reporting.sweep import sweeps
from kdistill.reporting.tradeoff import accuracy_against_flops
from kdistill.runs.collect import Subject
from kdistill.runs.comparison import Comparison


@dataclass(frozen=True)
class Section:
    """A part of the page, with a place in its contents.

    Attributes:
        title: its heading.
        name: of its template in `templates/sections/`.
        view: what the template shows; where it is empty, the page does without the section.
        has_legend: whether its charts need one.
    """

    title: str
    name: str
    view: object
    has_legend: bool = False

    @property
    def id(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower())

    @property
    def template(self) -> str:
        return f"sections/{self.name}.html.j2"


def report_page(result: Comparison, subject: Subject, *, command: str) -> str:
    """The whole page; of a sweep alone the sweep comes first.

    Args:
        result: the comparison of the subject's arms, as `comparison.compare` gives it.
        subject: what the page is about.
        command: that makes this page.
    """
    arms = shown_arms(result, subject.arms)
    names = result.test.class_names
    first = [
        Section("Verdict" if result.pairs else "Test", "verdict", _verdict(result)),
        Section("Sweep", "sweep", sweeps(subject.sweeps)),
    ]
    cost = {"tradeoff": accuracy_against_flops(arms), "cost": facts.cost(arms)}
    sections = [
        *(first if result.pairs else reversed(first)),
        Section("Learning curves", "curves", learning_curves(arms), has_legend=True),
        Section("Accuracy and cost", "cost", cost, has_legend=True),
        Section("Device files", "devices", device_view(result, arms), has_legend=True),
        Section("Ranking and calibration", "ranking", ranking_curves(arms, names), has_legend=True),
        Section("Confusion", "confusion", confusion_tables(arms, names)),
        Section("Disagreement and mistakes", "mistakes", disagreements(arms, names)),
        Section("Settings", "settings", facts.settings(arms)),
        Section("Versions", "versions", facts.origins(arms)),
        Section("Do it again", "do_again", do_again(arms, subject, command)),
    ]
    return render(
        "report.html.j2",
        title=result.name,
        runs=sum(map(len, subject.arms.values())) + sum(len(swept.left) for swept in subject.sweeps),
        samples=f"{result.test.samples:,}",
        classes=len(names),
        sections=[section for section in sections if section.view],
        legend=legend([arm.name for arm in arms]),
    )


def _verdict(result: Comparison) -> dict[str, object]:
    return {
        "headlines": headlines(result),
        "notes": result.notes,
        "arms": arm_sheets(result),
        "pairs": pair_sheets(result),
        "method": METHOD,
    }
