"""The report as a page: whole, of one file, with everything in it that the runs have."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kdistill.comparison.estimate import compare
from kdistill.reporting.page import report_page
from kdistill.runs.collect import subject_of

VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Checks that tags close in order, and collects elements with their attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def page(*entries: Path, arms: tuple[str, ...] = ()) -> str:
    subject = subject_of([str(entry) for entry in entries], arms)
    return report_page(compare(subject.arms, "toy <report>"), subject, command="python -m kdistill.report here")


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def text(make_run: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        make_run(folder / f"scratch{seed}", "student", seed)
        for temperature in (1.0, 4.0):
            for alpha in (0.5, 0.9):
                place = folder / f"kd-{temperature}-{alpha}-{seed}"
                make_run(place, "distill", seed, temperature=temperature, alpha=alpha, images=True)
    return page(folder)


def test_the_page_has_every_part_and_its_contents_lead_there(text: str) -> None:
    reader = read(text)
    parts = ["Verdict", "Sweep", "Learning curves", "Accuracy and cost", "Ranking and calibration", "Confusion"]
    parts += ["Disagreement and mistakes", "Settings", "Versions", "Do it again"]
    assert reader.texts["h2"] == parts and reader.texts["a"] == parts and reader.texts["h1"] == ["toy <report>"]
    names = [attrs["id"] for _, attrs in reader.elements if "id" in attrs]
    assert len(names) == len(set(names))
    assert all(attrs["href"].removeprefix("#") in names for attrs in reader.all("a"))  # type: ignore[union-attr]


def test_the_page_needs_no_other_file_and_no_network(text: str) -> None:
    for _, attrs in read(text).elements:
        for name in ("src", "href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/"))
    assert "http" not in text and "@import" not in text and "<script" not in text and "<link" not in text
    assert not re.search(r"url\((?!#)", text)


def test_the_page_can_be_read_without_seeing_it(text: str) -> None:
    reader = read(text)
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in reader.all("svg"))
    assert all(attrs["alt"] for attrs in reader.all("img"))
    assert all(attrs.get("scope") in ("col", "row") for attrs in reader.all("th"))
    assert all(attrs["aria-label"] for attrs in reader.all("table")) and reader.all("html") == [{"lang": "en"}]


def test_dark_and_paper_have_colours_of_their_own(text: str) -> None:
    assert "color-scheme: light dark" in text and "@media print" in text
    light, dark = (re.findall(r"(--[\w-]+): *#", part) for part in text.split("prefers-color-scheme: dark", 1))
    dark = dark[: len(light)]
    assert Counter(light) == Counter(dark), "each colour has its counterpart"
    assert set(re.findall(r"var\((--(?!share)[\w-]+)[,)]", text)) <= set(light)


def test_the_charts_show_the_runs_own_figures(text: str) -> None:
    labels = [attrs["aria-label"] or "" for attrs in read(text).all("svg")]
    (accuracy,) = [label for label in labels if label.startswith("validation: accuracy by epoch")]
    assert "net without a teacher 0.805" in accuracy, "the mean over the seeds of .8 and .81"
    (flops,) = [label for label in labels if label.startswith("test accuracy by FLOPs")]
    assert flops.startswith("test accuracy by FLOPs: big net") and " at 1.7e+03; net" in flops
    assert "teacher 0.975" in accuracy, "its level on validation, for there are no curves of it"
    assert len(labels) == 1 + 4 + 1 + 4 + 1, "sweep; curves; accuracy against FLOPs; ROC and PR, twice; reliability"


def test_the_confusion_table_counts_every_test_sample(text: str) -> None:
    found = re.search(r'class="matrix" aria-label="net without a teacher">(.*?)</table>', text, re.DOTALL)
    assert found is not None
    counts = [float(cell) for cell in re.findall(r"<td[^>]*>([\d.]+)</td>", found[1])]
    assert len(counts) == 9 and sum(counts) == pytest.approx(90, abs=0.5)


def test_images_say_what_everyone_said(text: str) -> None:
    images = read(text).all("img")
    assert 0 < len(images) <= 24
    said = re.compile(r"test image \d+: true <\d>, student <\d> \(\d+%\), teacher <\d> \(\d+%\)")
    assert all(said.fullmatch(image["alt"] or "") for image in images)


def test_a_network_without_a_teacher_shows_its_own_mistakes(make_run: Any, tmp_path: Path) -> None:
    text = page(make_run(tmp_path / "one", "student", images=True))
    images = read(text).all("img")
    assert images and "where the network is wrong" in text and "who is right on test" not in text
    assert all(re.fullmatch(r"test image \d+: true <\d>, network <\d> \(\d+%\)", i["alt"] or "") for i in images)


def test_images_are_shown_of_each_distilled_arm(make_run: Any, tmp_path: Path) -> None:
    names = ("one", "two", "three", "four", "five")
    for n, name in enumerate(names):
        make_run(tmp_path / name, "distill", n, images=n != 1, temperature=n)
    text = page(*(tmp_path / name for name in names), arms=names)
    shown = text.partition('id="disagreement-and-mistakes"')[2].partition("</section>")[0]
    assert re.findall("<h3>(.*?)</h3>", shown)[1:] == ["one", "three", "four", "five"], "two kept none"
    assert 0 < shown.count("<img") <= 48


def test_of_a_sweep_alone_the_sweep_comes_first_and_nothing_is_held_against_another_setting(
    make_run: Any, tmp_path: Path
) -> None:
    for temperature, val in ((1, 0.8), (2, 0.9), (4, 0.85)):
        job = ("+experiment=mnist_distill", f"loss.temperature={temperature}")
        make_run(tmp_path / f"T{temperature}", "distill", val_accuracy=val, job=job, temperature=temperature)
    text = page(tmp_path)
    assert read(text).texts["h2"][:2] == ["Sweep", "Test"] and "Verdict" not in text and "3 finished runs" in text
    rest = text.partition('id="test"')[2].partition('id="do-it-again"')[0]
    assert "net distilled (loss.temperature=2)" in rest
    assert "loss.temperature=1" not in rest and "loss.temperature=4" not in rest


def test_commands_are_those_of_the_runs(text: str) -> None:
    code = "".join(read(text).texts["code"])
    assert code.count("python -m kdistill.train +experiment=mnist_distill") == 8
    assert "seed=1" in code and "loss.temperature=1.0" in code and "python -m kdistill.report here" in code


def test_one_run_alone_has_a_page_with_its_teacher(make_run: Any, tmp_path: Path) -> None:
    text = page(make_run(tmp_path / "one", "distill", curves=False, temperature=2.0))
    reader = read(text)
    assert "big net" in text and "one arm: there is nothing to hold it against" in text
    assert "Sweep" not in reader.texts["h2"] and "Learning curves" not in reader.texts["h2"]
    assert "No run kept images" in text and reader.all("img") == []


def test_two_classes_have_curves_of_the_second(make_run: Any, tmp_path: Path) -> None:
    text = page(make_run(tmp_path / "one", "student", classes=2))
    assert "ROC, positive class &lt;1&gt;" in text and "average" not in "".join(read(text).texts["figcaption"])


def test_many_classes_show_the_pairs_that_are_confused_most(make_run: Any, tmp_path: Path) -> None:
    text = page(make_run(tmp_path / "one", "student", classes=15))
    assert "pairs of classes that are confused most often" in text and 'class="matrix"' not in text


def test_the_same_runs_make_the_same_page(make_run: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "one", "distill", temperature=2.0)
    assert page(run) == page(run)


def door(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    watched = "import sys; from kdistill.report import main; main(); print('torch' in sys.modules)"
    command = [sys.executable, "-c", watched, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_door_writes_the_page_beside_the_runs_without_torch(make_run: Any, tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run(tmp_path / "runs" / str(seed), "distill", seed, temperature=2.0)
    done = door(tmp_path, "runs")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False", "torch was imported"
    read((tmp_path / "runs" / "report.html").read_text())
    assert door(tmp_path, "runs=[runs]", "output=mine/page.html").returncode == 0
    assert (tmp_path / "mine" / "page.html").is_file()


@pytest.mark.slow
def test_the_door_says_what_is_wrong(tmp_path: Path) -> None:
    done = door(tmp_path, "runs=[nowhere]")
    assert done.returncode == 2 and "runs=nowhere: there is no such file or folder" in done.stderr
    done = door(tmp_path, "nowhere/else")
    assert done.returncode == 2 and done.stderr.startswith("there is no 'nowhere/else'")
    done = door(tmp_path)
    assert done.returncode == 2 and "runs=[<run folder" in done.stderr
    done = door(tmp_path, "runz=[a]")
    assert done.returncode == 2 and "did you mean 'runs'?" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_shows_the_page_without_a_complaint(text: str, tmp_path: Path, chromium: Any) -> None:
    done = chromium(tmp_path, text, "enable-logging=stderr", "dump-dom")
    assert done.returncode == 0 and "CONSOLE" not in done.stderr
    assert done.stdout.count("<svg") == text.count("<svg") and "Do it again" in done.stdout


PAPER = pytest.mark.skipif(
    None in map(shutil.which, ("chromium", "pdftotext", "pdfimages")), reason="chromium or poppler is not installed"
)


def printed(chromium: Any, folder: Path, text: str) -> tuple[list[str], Counter[int]]:
    """A page on paper: the text of each sheet, and how many images each has, counted from 1."""
    paper = folder / "page.pdf"
    assert chromium(folder, text, f"print-to-pdf={paper}").returncode == 0
    sheets = subprocess.run(["pdftotext", "-layout", paper, "-"], capture_output=True, text=True, check=True).stdout
    listing = subprocess.run(["pdfimages", "-list", paper], capture_output=True, text=True, check=True).stdout
    return sheets.split("\f"), Counter(int(line.split()[0]) for line in listing.splitlines()[2:])


@pytest.mark.slow
@PAPER
def test_on_paper_what_is_folded_is_open(text: str, tmp_path: Path, chromium: Any) -> None:
    sheets, _ = printed(chromium, tmp_path, text)
    assert text.count("monitor: val/accuracy") == "".join(sheets).count("monitor: val/accuracy") == 2, "two arms"


@pytest.mark.slow
@PAPER
def test_on_paper_an_image_and_its_caption_share_a_sheet(text: str, tmp_path: Path, chromium: Any) -> None:
    head, images, rest = re.split(r'(<div class="images">.*?</figure>\n</div>)', text, flags=re.DOTALL)
    sheets, count = printed(chromium, tmp_path, head + 12 * images + rest)
    captions = {n: len(re.findall(r"\bstudent <", sheet)) for n, sheet in enumerate(sheets, start=1)}
    assert count == Counter({n: number for n, number in captions.items() if number}) and len(count) > 1
