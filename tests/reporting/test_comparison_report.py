"""A comparison on the screen, as Markdown and as a page: the same figures in all three."""

import io
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from records import effect, made_comparison, mean
from rich.console import Console

from kdistill.base.cost import Cost
from kdistill.reporting.comparison import headlines, sheets
from kdistill.reporting.comparison_forms import markdown, page, print_comparison
from kdistill.runs.comparison import ArmFigures, DeLongTest, McNemarTest, Pair


def arm(name: str, role: str, seeds: tuple[int, ...], accuracy: float, **cost: Any) -> ArmFigures:
    metrics = {"accuracy": accuracy, "f1": 0.98, "auroc": 0.99912, "nll": 0.05, "ece": 0.01, "nll_scaled": 0.04}
    full = replace(Cost(623_290, 623_290, 622_496, 1_244_992, (), ()), **cost)
    means = {metric: mean(value) for metric, value in metrics.items()}
    return ArmFigures(name, role, name, seeds, ("folder",) * len(seeds), means, (1.5,) * len(seeds), full, ratio=17.6)


PAIR = Pair(
    "distilled",
    "scratch",
    (0, 1),
    {
        "accuracy": effect(0.0028, "higher", "helped", 0.002),
        "nll": effect(0.01, "lower", "hurt", 1e-7),
        "f1": effect(0.0, "higher", "inconclusive", 1.0),
    },
    McNemarTest((30, 31), (40, 52), (0.28, 0.0275), 0.011),
    DeLongTest((0.5, 0.25)),
)
TIMED = {"latency_ms": 1.25, "latency_iqr_ms": 0.1, "latency_on": "cpu, 1 thread"}
RESULT = made_comparison(
    "toy <experiment>",
    [arm("scratch", "student", (0, 1), 0.9861), arm("distilled", "distill", (0, 1), 0.9889, **TIMED)],
    PAIR,
    10_000,
    versions={"python": ["3.11.1"], "torch": ["2.13.0", "2.14.0"]},
    notes=("2 seeds: too few",),
    command="python -m kdistill.compare 'runs=[a,b]' <x>",
)


def printed(width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_comparison(RESULT, "outputs/here", console, more="python -m kdistill.report here")
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_headline_names_what_helped_what_hurt_and_what_is_open() -> None:
    assert headlines(RESULT) == ["distilled against scratch: helped: accuracy; hurt: NLL; inconclusive: F1"]


@pytest.mark.parametrize("width", [80, 110, 200])
def test_no_figure_is_cut_whatever_the_width_of_the_screen(width: int) -> None:
    text = printed(width)
    figures = ["98.61%", "97.61-99.61", ".98912-1.00912", "623,290", "1.24e6", "17.6 x", "1.25 ms", "+0.28 pp"]
    for word in [
        *figures,
        "+0.18 .. +0.38",
        ".0020",
        "<.0001",
        "inconclusive",
        "note: 2 seeds",
        "report: outputs/here",
    ]:
        assert word in text, word
    assert "…" not in text and all(len(line) <= width for line in text.splitlines() if "─" in line)


def test_markdown_tables_have_as_many_cells_in_every_row() -> None:
    text = markdown(RESULT)
    for block in text.split("\n\n"):
        counts = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(counts) <= 1
    assert "| accuracy ↑ | helped | +0.28 pp | +0.18 .. +0.38 | .0020 | .0020 |" in text


TESTS = (
    "McNemar, images that only one has right: distilled 40 52, scratch 30 31; exact p .2800 .0275, together .0110; "
    "DeLong, AUROC: p .5000 .2500"
)


def test_the_counts_and_p_of_mcnemar_and_delong_stand_below_their_pair_in_all_three() -> None:
    for text in (printed(110), printed(60), markdown(RESULT), page(RESULT)):
        assert text.count(TESTS) == 1 and text.index("98.61%") < text.index(TESTS)


def test_the_command_and_the_versions_are_kept_and_the_screen_says_how_to_see_more() -> None:
    assert str(RESULT.command) in markdown(RESULT) and "torch 2.13.0 and 2.14.0" in markdown(RESULT)
    assert "python -m kdistill.compare &#39;runs=[a,b]&#39; &lt;x&gt;" in page(RESULT)
    assert printed(110).splitlines()[-1].endswith("as one page: python -m kdistill.report here")


def test_the_verdict_comes_right_after_the_metric_where_a_phone_shows_it() -> None:
    *_, pair = sheets(RESULT)
    assert pair.columns[:2] == ("", "verdict") and pair.rows[1][:2] == ("NLL ↓", "hurt")


def test_the_page_is_whole_escaped_and_needs_no_other_file() -> None:
    class Tags(HTMLParser):
        opened: list[str] = []
        linked = 0

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.linked += sum(name in ("src", "href") for name, _ in attrs)
            if tag != "meta":
                self.opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.opened.pop() == tag

    reader = Tags()
    text = page(RESULT)
    reader.feed(text)
    assert reader.opened == [] and reader.linked == 0
    assert "toy &lt;experiment&gt;" in text and "color-scheme: light dark" in text
    assert '<td class="helped">helped</td>' in text and '<td class="hurt">hurt</td>' in text
