"""`python -m kdistill.report outputs/...`: finished runs as one page that needs no other file."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from kdistill.base.shell import shell_line
from kdistill.config.cli import run_door


def report(config: DictConfig) -> tuple[str, Path]:
    """Compares the runs that the user names and makes the page.

    Args:
        config: a composed `report` config.

    Returns:
        The page, and where it goes.

    Raises:
        UserError: there are no such runs, or they do not fit together.
    """
    from kdistill.comparison.estimate import compare
    from kdistill.config.words import literal
    from kdistill.reporting.page import report_page
    from kdistill.runs.collect import common_folder, subject_of

    subject = subject_of(list(config.runs), list(config.arms), for_page=True)
    plain: Any = OmegaConf.to_container(config)
    given = [f"{key}={literal(value)}" for key, value in plain.items() if value]
    command = shell_line(["python", "-m", "kdistill.report", *given])
    path = Path(config.output) if config.output is not None else common_folder(subject)
    page = report_page(compare(subject.arms, subject.title, notes=subject.notes), subject, command=command)
    return page, path if path.suffix == ".html" else path / "report.html"


def job(config: DictConfig) -> Any:
    """One job of the command line."""
    from kdistill.base.plain_text import printable
    from kdistill.base.storage import write_text

    page, path = report(config)
    write_text(path, page)
    print(f"report: {printable(str(path))} ({len(page.encode()) / 1e6:.1f} MB)")


def main() -> None:
    """The door; also the console script `kdistill-report`."""
    run_door(job, "report", paths="runs")


if __name__ == "__main__":
    main()
