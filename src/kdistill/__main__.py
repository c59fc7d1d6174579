"""`kdistill <command> ...`: every command under one name; the same as `python -m kdistill.<command> ...`."""

import runpy
import sys

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
        "  kdistill <command> --help   what can be said to it, with examples",
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
    elif (command := word.replace("-", "_")) in COMMANDS:
        del sys.argv[1]
        runpy.run_module(f"kdistill.{command}", run_name="__main__", alter_sys=True)
    else:
        print(f"{word!r} is no command{did_you_mean(word, COMMANDS)}\n\n{HELP}", file=sys.stderr)
        raise SystemExit(2)


if __name__ == "__main__":
    main()
