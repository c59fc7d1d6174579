"""Which picture a sweep gets, by what was swept; and that it shows the sweep's own figures."""

import re
from xml.etree import ElementTree

import pytest

from kdistill.reporting.sweep_pictures import picture, sweep_chart
from kdistill.runs.ranking import Sweep, Value

T, A = "loss.temperature", "loss.alpha"


def sweep(keys: tuple[str, ...], *rows: tuple[tuple[Value, ...], list[float]], lower: bool = False) -> Sweep:
    return Sweep("toy", "val/nll" if lower else "val/accuracy", lower, keys, dict(rows))


def words(svg: str) -> list[str]:
    texts = [element for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]
    return ["".join(text.itertext()).strip() for text in texts]


def height(svg: str, word: str) -> float:
    found = re.search(rf'<text style="[^"]*" x="[\d.]+" y="([\d.]+)"[^>]*>{re.escape(word)}<', svg)
    assert found is not None
    return float(found[1])


GRID = [((t, a), [0.8 + 0.01 * t + 0.1 * a]) for t in (1.0, 2.0, 4.0) for a in (0.1, 0.5)]


def test_two_numbers_are_a_heat_map_with_every_figure_in_its_cell() -> None:
    shown = words(sweep_chart(sweep((T, A), *GRID)))
    cells = [word for word in shown if re.fullmatch(r"0\.\d{4}", word)]
    assert cells == ["0.8200", "0.8300", "0.8500", "0.8600", "0.8700", "0.8900"], "rows from below, alpha .1 then .5"
    assert {"1", "2", "4", "0.1", "0.5", T, A, "val/accuracy; chosen: framed"} <= set(shown)


def test_a_pair_that_nothing_ran_is_a_dash() -> None:
    shown = words(sweep_chart(sweep((T, A), *GRID[:-1])))
    assert shown.count("-") == 1 and "0.8900" not in shown


def test_few_pairs_of_many_are_a_scatter_with_a_scale_of_shades() -> None:
    drawn = sweep((T, A), *(((1.0 + n, 0.1 * n), [0.5 + 0.1 * n]) for n in range(1, 5)))
    shown = words(sweep_chart(drawn))
    assert {T, A, "val/accuracy"} <= set(shown) and not any(re.fullmatch(r"0\.\d{4}", word) for word in shown)


def test_one_number_is_a_line_with_its_values_as_ticks() -> None:
    drawn = sweep((T,), *(((t,), [0.9 - 0.01 * abs(t - 4)]) for t in (1.0, 2.0, 4.0, 16.0, 64.0)))
    shown = words(sweep_chart(drawn))
    assert {"1", "2", "4", "16", "64", T, "val/accuracy"} <= set(shown) and A not in shown
    assert f"best: {T}=4, 0.9000" in sweep_chart(drawn)


def test_a_number_and_a_word_are_a_line_for_each_word() -> None:
    drawn = sweep((T, "loss"), *(((t, loss), [0.1 * t]) for t in (1.0, 2.0) for loss in ("kd", "dkd")))
    assert {"kd", "dkd", T} <= set(words(sweep_chart(drawn)))


@pytest.mark.parametrize(
    ("keys", "rows", "names"),
    [
        (("loss",), [(("kd",), [0.8, 0.9]), (("dkd",), [0.7])], ["kd", "dkd"]),
        (
            (T, A, "optimizer.lr"),
            [((1.0, 0.1, 0.5), [0.8]), ((2.0, 0.5, 0.25), [0.7])],
            [f"{T}=1, {A}=0.1, optimizer.lr=0.5", f"{T}=2, {A}=0.5, optimizer.lr=0.25"],
        ),
    ],
    ids=["words alone", "three numbers"],
)
def test_else_every_setting_is_a_dot_beside_its_name_the_best_on_top(keys, rows, names) -> None:
    heights = {name: height(sweep_chart(sweep(keys, *rows)), name) for name in names}
    assert heights[names[0]] < heights[names[1]], "SVG counts down the page"


def test_less_is_better_where_the_metric_says_so() -> None:
    drawn = sweep((T,), ((1.0,), [0.3]), ((2.0,), [0.1]), lower=True)
    assert f"best: {T}=2, 0.1000" in sweep_chart(drawn)


def test_the_file_is_the_chart_in_the_pages_light_colours() -> None:
    svg = picture(sweep((T, A), *GRID))
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and "var(" not in svg
    assert words(svg) == words(sweep_chart(sweep((T, A), *GRID)))
