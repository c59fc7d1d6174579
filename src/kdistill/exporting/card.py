"""README.md of an export folder: the model card, for whoever gets the folder and nothing else."""

from pathlib import Path

from kdistill.base.metric_catalogue import METRICS
from kdistill.exporting.manifest import Manifest
from kdistill.exporting.quantised_words import in_full
from kdistill.reporting.plain_text import markdown_text
from kdistill.reporting.render import fill_in
from kdistill.runs.record import RunRecord

_TEMPLATES = Path(__file__).with_name("templates")
_SHOWN = 20  # classes that are named one by one


def card(manifest: Manifest, record: RunRecord, call: str) -> str:
    """The card as Markdown.

    Args:
        manifest: what was measured of the file.
        record: of the run that it is from.
        call: the template of how to call the file: one of `templates/`, or a whole path.
    """
    facts, classes = manifest["input"], manifest["classes"]
    more = f" and {len(classes) - _SHOWN} more (manifest.json)" if len(classes) > _SHOWN else ""
    sizes = (facts["channels"], facts["height"], facts["width"])
    shape = sizes if facts["layout"] == "nchw" else (*sizes[1:], sizes[0])
    about = {"m": manifest, "shape": shape, "reader": "L" if sizes[0] == 1 else "RGB"}
    picture = fill_in((_TEMPLATES / "picture.py.j2").read_text(), **about)
    return fill_in(
        (_TEMPLATES / "card.md.j2").read_text(),
        **about,
        r=record,
        label=markdown_text(manifest["label"]),
        experiment=markdown_text(record.experiment),
        teacher=record.teacher and markdown_text(record.teacher.label),
        classes=", ".join(markdown_text(name) for name in classes[:_SHOWN]) + more,
        rows=_rows(manifest),
        quantised=in_full(manifest["quantisation"]) if manifest["quantisation"] else [],
        call=fill_in((_TEMPLATES / call).read_text(), picture=picture, **about),
    )


def _rows(manifest: Manifest) -> list[tuple[str, str, str, str]]:
    """Label, the file's figure with its interval, the float network's, and the difference with its interval."""
    rows = []
    for name, difference in manifest["difference"].items():
        metric, interval = METRICS[name], manifest["test_interval"][name]
        if difference is None or interval is None:
            continue
        low, high = interval
        value, least, most = map(metric.difference, difference)
        own = f"{metric.shown(manifest['test'][name])} ({metric.shown(low)} to {metric.shown(high)})"
        rows.append((metric.label, own, metric.shown(manifest["float_test"][name]), f"{value} ({least} to {most})"))
    return rows
