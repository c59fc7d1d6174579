"""A comparison as a W&B run of its own, beside those of its arms: table, verdicts, the page."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from kdistill.config.sections import wandb_sections
from kdistill.reporting.comparison import headlines, sheets
from kdistill.reporting.comparison_forms import page
from kdistill.runs.comparison import Comparison
from kdistill.runs.record_file import as_plain
from kdistill.tracking.wandb_run import open_run, staged_in

_OF_A_PAIR = ("mean", "low", "high", "verdict", "p", "p_holm")


def log_comparison(config: DictConfig, result: Comparison, folder: Path) -> None:
    """Logs a comparison to each W&B logger of the config; one made again goes on in the same W&B run.

    Args:
        config: a composed `compare` config.
        result: from `kdistill.comparison.estimate.compare`.
        folder: where the comparison lies; W&B's files go there.
    """
    settings = {"runs": list(config.runs)} if config.runs else OmegaConf.to_container(config, resolve=True)
    assert isinstance(settings, dict)
    compared = {
        arm.name: {key: as_plain(getattr(arm, key)) for key in ("role", "label", "seeds", "runs")}
        for arm in result.arms
    }
    for section in wandb_sections(config).values():  # its keys of one training (experiment, seed) may have no value
        opened = open_run(
            project=section.project,
            name=f"{result.name}-compare",
            group=section.group or folder.name,
            job_type="compare",
            tags=list(section.tags),
            mode=section.mode,
            save_dir=folder,
        )
        with opened as run:
            run.config.update({**settings, "compared": compared, "test": as_plain(result.test)}, allow_val_change=True)
            with staged_in(folder):
                run.log(_media(result))
            run.summary.update(_figures(result))


def _media(result: Comparison) -> dict[str, object]:
    import wandb

    table = sheets(result)[0]
    lines = [*headlines(result), *(f"note: {note}" for note in result.notes)]
    verdicts = [
        [pair.arm, pair.baseline, metric, *(getattr(found, key) for key in _OF_A_PAIR)]
        for pair in result.pairs
        for metric, found in pair.metrics.items()
    ]
    return {
        "final_table": wandb.Table(columns=["arm", *table.columns[1:]], data=[list(row) for row in table.rows]),
        "verdicts": wandb.Table(columns=["arm", "against", "metric", *_OF_A_PAIR], data=verdicts),
        "headlines": wandb.Table(columns=["headline"], data=[[line] for line in lines]),
        "page": wandb.Html(page(result), inject=False),
    }


def _figures(result: Comparison) -> dict[str, object]:
    """Means by arm and metric, cost by arm, and each verdict's word."""
    words = {pair.title: {name: found.verdict for name, found in pair.metrics.items()} for pair in result.pairs}
    means = {arm.name: {name: one.mean for name, one in arm.metrics.items()} for arm in result.arms}
    return {"test": means, "cost": {arm.name: as_plain(arm.cost) for arm in result.arms}, "verdicts": words}
