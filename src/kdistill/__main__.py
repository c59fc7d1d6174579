"""`kdistill <command> ...`: every command under one name; the same as `python -m kdistill.<command> ...`."""

import runpy
import sys
from collections.abc import Iterable
from typing import NoReturn

from kdistill import __version__
from kdistill.base.spelling import did_you_mean

COMMANDS = {
    "train": "train a teacher, a student without a teacher, or a student from a teacher; -m sweeps",
    "evaluate": "a finished run's test figures, again from its files, also on other images",
    "compare": "did distilling help? arms, seeds, intervals and a verdict",
    "report": "finished runs as one page",
    "export": "a finished run as a file for a device, tested there",
    "predict": "what a run or a device file says of pictures",
    "sync_wandb": "upload what W&B kept offline",
}
HELP = "\n".join(
    [
        "kdistill <command> [key=value ...]",
        "",
        *(f"  kdistill {name:<12}{what}" for name, what in COMMANDS.items()),
        "",
        "  kdistill <command> --help        what can be said to it, with examples",
        "  kdistill schema [command]        a JSON schema of its whole config (of train, if none is given)",
        '  kdistill completion <shell>      TAB completion: eval "$(kdistill completion bash)", or zsh;',
        "                                   kdistill completion fish | source",
        "  kdistill --version",
        "",
        "The first thing to type: kdistill train +experiment=mnist_distill",
    ]
)


def main() -> None:
    """The console script `kdistill`; leaves with exit code 2 where there is no such command."""
    word = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if word in ("--help", "-h", "help"):
        print(HELP)
    elif word in ("--version", "-V", "version"):
        print(f"kdistill {__version__}")
    elif word == "completion":
        from kdistill.config.completion import SHELLS, completion

        print(completion(_one_of(sys.argv[2:], SHELLS, "shell"), COMMANDS), end="")
    elif word == "schema":
        import json

        from kdistill.config.json_schema import SCHEMAS, json_schema

        print(json.dumps(json_schema(_one_of(sys.argv[2:] or ["train"], SCHEMAS, "command")), indent=2))
    elif (command := word.replace("-", "_")) in COMMANDS:
        del sys.argv[1]
        runpy.run_module(f"kdistill.{command}", run_name="__main__", alter_sys=True)
    else:
        _leave(f"{word!r} is no command{did_you_mean(word, COMMANDS)}\n\n{HELP}")


def _one_of(words: list[str], known: Iterable[str], what: str) -> str:
    """The one word that is wanted; leaves with exit code 2 where it is another."""
    if len(words) != 1 or words[0] not in known:
        given = " ".join(words) or "nothing"
        _leave(f"{given!r} is no {what}{did_you_mean(given, known)} (there are: {', '.join(known)})")
    return words[0]


def _leave(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
