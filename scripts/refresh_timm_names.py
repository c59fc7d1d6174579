"""Writes the names of the installed timm's networks to base/timm_names.txt; run it after moving timm."""

import timm
from timm.models._registry import _model_entrypoints  # with the old names, which timm still takes

from kdistill.base.network_names import TIMM_NAMES

TIMM_NAMES.write_text("\n".join([timm.__version__, *sorted(_model_entrypoints)]) + "\n")
