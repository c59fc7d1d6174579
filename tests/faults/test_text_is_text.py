"""Hostile names: plain text on the screen, one word in a command to paste, the same value to Hydra."""

import logging
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from rich.table import Table
from rich.text import Text

from kdistill.base.classes import listed
from kdistill.base.plain_text import brief, one_line, printable
from kdistill.base.shell import shell_line
from kdistill.base.typed import pasted
from kdistill.config.words import literal
from kdistill.data.problems import Problems
from kdistill.screen.console import PlainConsole
from kdistill.screen.logs import ScreenHandler

NAMES = [
    "plain", "a b", "$(touch owned)", "`touch owned`", "a;touch owned", "a\ntouch owned\n", "it's", 'say "x"',
    "a\\", "\\\"", "a\\\\\"b", "${seed}", "\\${seed}", "${oc.env:HOME}", "[/red]", "<script>x</script>", "a=b,c",
    "[a,b]", "{a:b}", "!x", "~", "*", "#x", "\x1b[31mred\x07", "\x9b31m", "x\u202egnp.exe", "tab\there", "caf\u00e9",
    "caf\udce9", "-x", "", "null", "a:b", " lead", "trail ", "\r\n", "a'b\"c`d$e\\f", "x" * 5000,
]  # fmt: skip
ODD = [name for name in NAMES if one_line(name) != name]


@pytest.mark.parametrize("name", [name for name in NAMES if "\udce9" not in name])
def test_a_value_comes_through_hydra_as_it_is(name: str) -> None:
    for value in (name, [name, "b"], [[name]]):
        override = OverridesParser.create().parse_override(f"key={literal(value)}")
        config = OmegaConf.create({"seed": 3, "key": override.value()})
        assert OmegaConf.to_container(config, resolve=True)["key"] == value  # type: ignore[index, call-overload]


@pytest.mark.skipif(shutil.which("bash") is None, reason="lines are pasted into bash")
def test_a_pasted_line_gives_every_word_as_it_is_and_runs_nothing(tmp_path: Path) -> None:
    show = "import sys; sys.stdout.buffer.write(b'\\0'.join(map(__import__('os').fsencode, sys.argv[1:])))"
    line = shell_line([sys.executable, "-S", "-c", show, *NAMES])
    assert one_line(line) == line, "nothing in it steers a terminal"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, cwd=tmp_path, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert done.stdout.decode(errors="surrogateescape").split("\0") == NAMES
    assert not list(tmp_path.iterdir())
    assert one_line(pasted("train", [f"name={literal(name)}" for name in NAMES])).count("kdistill.train") == 1


@pytest.mark.parametrize("name", ODD)
def test_what_goes_through_the_console_or_the_log_steers_no_terminal(name: str) -> None:
    table = Table(title=Text(name))
    table.add_column(name)
    table.add_row(name)
    screen = StringIO()
    console = PlainConsole(markup=False, emoji=False, file=screen, width=200)
    console.print(table)
    console.print(name, Text(name, style="bold"))
    handler = ScreenHandler()
    record = logging.LogRecord("kdistill", logging.INFO, "", 0, "%s in %s, %d", (name, Path(f"d/{name}"), 3), None)
    line = handler.format(record)
    assert f"{one_line(name)}, 3" in line.replace("\n", " ")
    text = screen.getvalue() + line
    assert printable(text) == text
    assert record.args is not None and record.args[0] == name, "another handler gets what was said"


def test_styles_of_our_own_still_reach_a_terminal() -> None:
    screen = StringIO()
    PlainConsole(force_terminal=True, color_system="standard", file=screen).print(Text("red\x1b[31m", style="red"))
    assert screen.getvalue() == "\x1b[31mred\\x1b[31m\x1b[0m\n"


@pytest.mark.parametrize("name", ODD)
def test_names_in_messages_are_of_one_printable_line(name: str) -> None:
    problems = Problems()
    problems.add("files that are wrong", f"{name}: why")
    with pytest.raises(Exception, match="files that are wrong") as caught:
        problems.raise_if_any("data")
    assert len(str(caught.value).splitlines()) == 3
    for text in (brief(name), listed([name, name]), str(caught.value).replace("\n", "")):
        assert one_line(text) == text


def test_an_error_of_a_door_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from kdistill.config.cli import _leave

    with pytest.raises(SystemExit):
        _leave("there is no '\x1b]0;owned\x07\u202egnp'\n  second line")
    said = capsys.readouterr().err
    assert said == "there is no '\\x1b]0;owned\\x07\\u202egnp'\n  second line\n"
