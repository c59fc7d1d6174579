"""The names that people chose show as the text that they are: on a page, in a chart, as Markdown, on the screen."""

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from records import effect, made_comparison, mean
from rich.console import Console

from kdistill.base.cost import Cost
from kdistill.base.plain_text import one_line, printable
from kdistill.comparison.estimate import compare
from kdistill.reporting.comparison import headlines
from kdistill.reporting.comparison_forms import markdown, page, print_comparison
from kdistill.reporting.page import report_page
from kdistill.reporting.plain_text import markdown_item, markdown_text
from kdistill.reporting.render import TEMPLATES
from kdistill.reporting.sweep_pictures import picture
from kdistill.reporting.sweep_screen import print_sweep
from kdistill.runs.collect import subject_of
from kdistill.runs.comparison import ArmFigures, Comparison, McNemarTest, Pair
from kdistill.runs.folder import RunFolder
from kdistill.runs.known import KnownRun
from kdistill.runs.ranking import Sweep
from kdistill.sweeps.finish import FinishedSweep

HOSTILE = [
    "<script>owned = 1</script>",
    '"><img src=x onerror="owned = 1">',
    "' onfocus='owned = 1' autofocus='",
    "R&D &amp; &lt;b&gt;",
    "two\nlines\r\nand\ttabs",
    "</title></style></pre></svg></section><h1>mine",
    "<!-- --> -->",
    "{{ 7 * 7 }} {% raw %} {# no #}",
    "$x_1$ costs \\$2, $y",
    "_under_ __init__ snake_case",
    "[bold red]loud[/] [link=x]l[/link] :car:",
    "[text](http://there) **strong** ~~gone~~ `code`",
    "a|b \\| c\\",
    "1. first",
    "- item",
    "# head #",
    'c id="x" x="1.23456" #010101 xlink:href="#y" font-family: z;',
    "50% #1 a b?c=d",
]
UNPRINTABLE = {"\x1b[31mred\x07": "\\x1b[31mred\\x07", "caf\udce9": "caf\\udce9"}

PROBE = """<script>
for (const details of document.querySelectorAll("details")) details.open = true;
const all = [...document.querySelectorAll("*")].filter(element => element !== document.currentScript);
const found = {
  text: document.body.innerText,
  tags: all.map(element => [element.localName.toLowerCase(), element.getAttributeNames().sort()]),
  labels: all.map(element => element.getAttribute("alt") ?? element.getAttribute("aria-label") ?? ""),
  owned: typeof owned, title: document.title,
};
const bytes = new TextEncoder().encode(JSON.stringify(found));
document.body.textContent = "found:" + btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join("")) + ":";
</script></body>"""


def a_page(make_run: Any, folder: Path, names: list[str]) -> str:
    """Of arms, classes, a teacher, an experiment, settings and folders with these names."""
    title, teacher, word, setting, device, version, *arms = names[:8]
    for n in range(len(arms)):
        run = folder / names[8].replace("/", "\N{FRACTION SLASH}") / str(n)
        keys = {"temperature": n, "word": f"{word}{n}", f"{n}": setting}
        make_run(run, "distill", n, classes=len(names), class_names=names, images=n == 0, **keys)
        said = RunFolder(run).record()
        assert said.teacher is not None
        about = {
            "teacher": replace(said.teacher, label=teacher),
            "hardware": replace(said.hardware, device=device),
            "versions": {**said.versions, "torch": version},
        }
        RunFolder(run).write_record(replace(said, **about))  # type: ignore[arg-type]
    runs = [str(path.parent) for path in sorted(folder.glob("*/*/summary.json"))]
    subject = subject_of(runs, arms)
    return report_page(compare(subject.arms, title), subject, command=f"report {title}")


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_finds_the_same_elements_whatever_the_names_and_shows_every_name(
    make_run: Any, tmp_path: Path, chromium: Any
) -> None:
    found = {}
    for kind, names in (("plain", [f"name{n}" for n in range(len(HOSTILE))]), ("hostile", HOSTILE)):
        text = a_page(make_run, tmp_path / kind, names).replace("</body>", PROBE)
        done = chromium(tmp_path, text, "dump-dom")
        (answer,) = re.findall("found:([A-Za-z0-9+/=]+):", done.stdout)
        found[kind] = json.loads(base64.b64decode(answer))
    plain, hostile = found["plain"], found["hostile"]
    assert hostile["tags"] == plain["tags"] and plain["tags"][0][0] == "html" and len(plain["tags"]) > 1000
    assert hostile["owned"] == "undefined" and flat(hostile["title"]) == flat(HOSTILE[0])
    shown, said = flat(hostile["text"]), flat(" ".join(hostile["labels"]))
    missing = [name for name in HOSTILE if flat(name) not in shown]
    assert missing == []
    assert all(flat(name) in said for name in HOSTILE[6:8]), "the arms, in the charts' descriptions"


def test_the_templates_trust_nothing_but_the_charts() -> None:
    """`|safe` stands once, for the SVG that matplotlib has escaped; nothing switches escaping off."""
    texts = {path.name: path.read_text() for path in TEMPLATES.rglob("*.j2")}
    assert len(texts) > 10
    assert {name for name, text in texts.items() if "safe" in text} == {"macros.html.j2"}
    assert texts["macros.html.j2"].count("safe") == 1 and "drawn.svg|safe" in texts["macros.html.j2"]
    assert not [name for name, text in texts.items() if "autoescape" in text]


def drawn_texts(svg: str) -> set[str]:
    texts = (element for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text"))
    return {flat("".join(text.itertext())).strip() for text in texts}


IN_CHARTS = ["<script>", "$x_1$ costs \\$2, $y", "_under_ var(--ink) var(--x)", "two\nlines", HOSTILE[-2], *UNPRINTABLE]


@pytest.mark.parametrize("name", IN_CHARTS)
def test_every_picture_of_a_sweep_shows_a_name_as_text(name: str) -> None:
    expected = flat(UNPRINTABLE.get(name, name)).strip()
    grid = [((a, b), [0.1 * a + b]) for a in (1.0, 2.0) for b in (0.1, 0.2)]
    cases = {
        "heat map": ((name, "b"), grid),
        "scatter": ((name, "b"), [((float(n), n / 7), [0.1 * n]) for n in range(1, 5)]),
        "lines": (("t", "loss"), [((t, word), [0.1 * t]) for t in (1.0, 2.0) for word in (name, "kd")]),
        "dots": (("loss",), [((name,), [0.8]), (("kd",), [0.7])]),
    }
    for kind, (keys, rows) in cases.items():
        svg = picture(Sweep("toy", f"val/{name}", False, keys, dict(rows)))
        texts = drawn_texts(svg)
        assert expected in texts, f"{kind}: {texts}"
        assert any(f"val/{expected}" in text for text in texts) or kind == "heat map", kind
        assert not {element.tag for element in ElementTree.fromstring(svg).iter()} & {"script", "img", "h1"}


def named(name: str) -> Comparison:
    metrics = {metric: mean(0.9, 0.1) for metric in ("accuracy", "f1", "auroc", "nll", "ece")}
    cost = Cost(1, 1, 5, 10, (), ())
    arms = [ArmFigures(arm, "student", arm, (0,), ("folder",), metrics, (), cost, ratio=1.0) for arm in (name, "other")]
    answers = {"accuracy": effect(0.9, "higher", "inconclusive", 0.5)}
    pair = Pair(name, "other", (0,), answers, McNemarTest((2,), (1,), (0.5,), 0.5))
    more = {"versions": {"torch": [name]}, "notes": (f"about {name}",), "command": f"compare {name} ```"}
    return made_comparison(name, arms, pair, 10, **more)


@pytest.mark.parametrize("name", [*HOSTILE, *UNPRINTABLE])
def test_markdown_reads_as_the_names_themselves(name: str) -> None:
    expected = flat(one_line(name)).strip()
    text = markdown(named(name))
    assert text.encode() and "\x1b" not in text
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    inlines = [token for token in tokens if token.type == "inline"]
    children = [child for token in inlines for child in token.children or []]
    assert {child.type for child in children} <= {"text", "softbreak", "html_inline"}
    assert {child.content for child in children if child.type == "html_inline"} == {"<br>"}
    assert {token.type for token in tokens} & {"html_block", "ordered_list_open", "blockquote_open"} == set()
    assert [token.info for token in tokens if token.type == "fence"] == [""]
    parsed = [flat("".join(child.content for child in token.children or [])).strip() for token in inlines]
    for line in (expected, f"{expected}<br>1 seed", f"{expected} against other, 1 seed", f"note: about {expected}"):
        assert line in parsed, line
    assert sum(token.type == "bullet_list_open" for token in tokens) == 2, "headlines and notes, none in the other"
    assert sum(token.type == "th_open" for token in tokens) == 9 + 6, "no cell is cut in two"


@pytest.mark.parametrize("name", [*HOSTILE, *UNPRINTABLE])
def test_the_screen_shows_names_as_they_are(name: str, make_run: Any, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=400)
    result = named(name)
    print_comparison(result, name, console, more=f"report {name}")
    rows = ((name,), [0.9]), (("other",), [0.8])
    sweep = Sweep(name, f"val/{name}", False, (f"key {name}",), dict(rows))
    run = make_run(tmp_path / "run", "student")
    finished = FinishedSweep(
        tmp_path / "s", {}, (), {sweep.chosen: [run]}, {run: KnownRun.read(run)}, sweep, (f"about {name}",)
    )
    print_sweep(finished, console)
    lines = [line.strip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    shown = one_line(name).strip()
    said = [one_line(headlines(result)[0]).strip(), f"note: about {shown}", f"report: {shown}"]
    said.append(f"chosen on validation: key {one_line(name)}={one_line(name)}".strip())
    for line in said:
        assert line in lines, line
    command = f"curves, pictures and settings as one page: report {printable(name)}".splitlines()
    assert {flat(line).strip() for line in command} <= set(map(flat, lines)), "its line ends are the shell's"
    assert any(line.startswith(f"1  {shown}"[:12]) for line in lines)
    assert sum(shown in line for line in lines) >= 10


@pytest.mark.parametrize(("name", "shown"), UNPRINTABLE.items())
def test_what_has_no_bytes_or_steers_the_terminal_is_spelled_out(name: str, shown: str) -> None:
    assert printable(name) == one_line(name) == shown
    text = page(named(name))
    assert text.encode() and shown in text and "\x1b" not in text


def test_text_that_needs_no_care_stays_readable_markdown() -> None:
    for plain in ("mnist_distill, 98.6 %", "-", "a (b)", "p .05; 2 x", "größer"):
        assert markdown_text(plain) == plain
    assert markdown_item("12) x") == "- 12\\) x" and markdown_item("-") == "- \\-"
