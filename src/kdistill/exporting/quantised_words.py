"""How a file of 8 bits came to be, in words: for the card and for the screen."""

from kdistill.base.spelling import counted
from kdistill.exporting.manifest import Attempt, Quantisation

_SHOWN = 12  # layers that are named


def in_short(found: Quantisation) -> str:
    """One line."""
    chosen = found["chosen"]
    names = chosen["float_layers"]
    stays = f"{len(names)} of {found['layers']} layers in float" if names else f"all {found['layers']} layers in 8 bits"
    weights = f", weights {chosen['weights']}" if chosen["weights"] else ""
    by = f"; {found['reason']}, by {found['judged_on']}" if found["judged_on"] else "; nothing was chosen"
    return f"ranges by {chosen['method']}{weights}, {stays}{by}"


def in_full(found: Quantisation) -> list[str]:
    """Sentences, each a line of its own."""
    chosen, plain = found["chosen"], found["plain"]
    said = [in_short(found)[:1].upper() + in_short(found)[1:] + "."]
    names = chosen["float_layers"]
    if names:
        more = f" and {len(names) - _SHOWN} more (manifest.json)" if len(names) > _SHOWN else ""
        said.append(f"In float: {', '.join(f'`{name}`' for name in names[:_SHOWN])}{more}.")
    if chosen["distance"] is not None:
        said.append(f"As chosen: {_figures(chosen)}.")
    if plain is not None:
        said.append(f"With nothing chosen: {_figures(plain)}.")
    if found["judged_on"]:
        said.append(f"{counted(found['tries'], 'file')} looked at in {found['seconds']:.0f} s. Test was not looked at.")
    return said


def _figures(one: Attempt) -> str:
    parts = [f"{one['size_bytes']:,} bytes"]
    if one["latency_ms"] is not None:
        parts.append(f"{one['latency_ms']:.3g} ms")
    if one["difference"] is not None:
        parts.append(f"{one['difference']:+.4f} on validation")
    if one["agreement"] is not None:
        parts.append(f"the same class on {one['agreement']:.1%}")
    if one["distance"] is not None:
        parts.append(f"logits off by {one['distance']:.3f} of their spread")
    return ", ".join(parts)
