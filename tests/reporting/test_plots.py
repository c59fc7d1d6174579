"""Charts as elements of the page: sound, in the page's colours, the same every time."""

import re
from xml.etree import ElementTree

from matplotlib.axes import Axes

from kdistill.reporting.plots import COLOURS, chart, colour, legend, marker
from kdistill.reporting.render import environment


def drawn(alt: str = 'loss by epoch; "best" <1') -> str:
    def draw(axes: Axes) -> None:
        for number in range(3):
            axes.plot([1, 2, 3], [1000, 10 * number + 1, 0.123456], color=colour(number), marker=marker(number))
        axes.set_yscale("log")

    return chart(draw, x="epoch", y="loss", alt=alt)


def test_a_chart_is_one_sound_element_with_a_description() -> None:
    root = ElementTree.fromstring(drawn())
    assert root.tag == "svg" and root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == 'loss by epoch; "best" <1' and "viewBox" in root.attrib
    words = ["".join(text.itertext()).strip() for text in root.iter("text")]
    assert {"epoch", "loss", "1.0", "3.0"} <= set(words), "text stays text"


def test_colours_are_the_pages_variables() -> None:
    text = drawn()
    assert set(re.findall(r"var\((--[\w-]+)\)", text)) == {
        "--ink",
        "--muted",
        "--line",
        "--arm-0",
        "--arm-1",
        "--arm-2",
    }
    assert not re.search(r"(fill|stroke): #", text)


def test_every_name_is_used_and_two_charts_share_none() -> None:
    first, second = drawn("one"), drawn("two")
    for text in (first, second):
        names = re.findall(r' id="([^"]*)"', text)
        assert names and len(names) == len(set(names)) and all(f"#{name}" in text for name in names)
    assert not set(re.findall(r' id="([^"]*)"', first)) & set(re.findall(r' id="([^"]*)"', second))


def test_a_chart_is_the_same_every_time_and_names_no_address() -> None:
    assert drawn() == drawn() and "http" not in drawn() and "<metadata" not in drawn()


def test_the_legend_names_every_arm_and_no_two_look_alike() -> None:
    macro = environment().get_template("macros.html.j2").module.legend  # type: ignore[attr-defined]
    text = str(macro(legend([f"arm <{n}>" for n in range(20)])))
    looks = re.findall(r"--arm-(\d)\)\">(.)<", text)
    assert len(set(looks)) == 20 and text.count("arm &lt;") == 20
    assert len({marker(n) for n in range(COLOURS)}) == COLOURS, "told apart in grey, too"
