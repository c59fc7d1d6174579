"""`python -m kdistill.predict model=<run, export folder or file> images=[...]`: what it says of pictures."""

import sys
from contextlib import redirect_stdout

from omegaconf import DictConfig

from kdistill.config.cli import run_door


def predict(config: DictConfig) -> int:
    """Answers for all pictures that the user names, on standard output.

    Args:
        config: a composed `predict` config.

    Returns:
        How many pictures could not be read.

    Raises:
        UserError: no such model, or an entry of `images` names nothing.
    """
    from kdistill.base.plain_text import printable
    from kdistill.config.validate import validate
    from kdistill.exporting.answer_forms import Writer
    from kdistill.exporting.load import load
    from kdistill.exporting.pictures import find_pictures
    from kdistill.screen.progress import progress

    validate(config)
    files = find_pictures(list(config.images), lambda: sys.stdin)
    with redirect_stdout(sys.stderr):  # what a run's network says of itself is no answer
        model = load(config.model, threads=config.threads, allow=list(config.allow))
    if model.facts.verdict == "fails":
        print(f"{printable(config.model)} failed its test and is not to be used (see its README.md)", file=sys.stderr)
    writer, broken = Writer(config.form, model.facts.classes, config.top), 0
    answers = model.answers(files, batch_size=config.batch_size, max_pixels=config.max_pixels)
    for answer in progress().track(answers, "predicting", len(files), "images"):
        if answer.problem is None:
            writer.add(answer)
        else:
            broken += 1
            print(f"{printable(answer.image)}: {answer.problem}", file=sys.stderr)
    writer.end()
    return broken


def job(config: DictConfig) -> None:
    """One job of the command line; leaves with exit code 1 if a picture could not be read."""
    from kdistill.base.spelling import counted

    if broken := predict(config):
        print(f"{counted(broken, 'picture')} could not be read (see above)", file=sys.stderr)
        if config.skip != "ok":
            raise SystemExit(1)


def main() -> None:
    """The door; also the console script `kdistill-predict`."""
    run_door(job, "predict", paths="images")


if __name__ == "__main__":
    main()
