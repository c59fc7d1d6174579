"""How a sweep's folders are called: the same command finds them again, and other settings have others."""

import hashlib
import re
import warnings
from collections.abc import Sequence

from omegaconf import OmegaConf

LONGEST = 150  # bytes; file systems allow 255, and files of temporary names lie beside some folders


def key_of(override: str) -> str:
    """The key of an override's text: `+loss.beta=1` sets `loss.beta`."""
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def is_below(key: str, sections: Sequence[str]) -> bool:
    """Whether a dotted key is one of the sections or lies in one."""
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def folder_name(parts: Sequence[str], longest: int = LONGEST) -> str:
    """Texts such as overrides as the name of a folder.

    Returns:
        At most `longest` bytes of letters, digits and `._=,~-`. A name that does not hold every sign of the parts ends
        in a hash of them.
    """
    whole = ",".join(parts)
    name = re.sub(r"[^A-Za-z0-9._=,~-]+", "-", whole).strip("-.")
    if name == whole and len(name) <= longest:
        return name or "defaults"
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{name[: longest - len(digest) - 1].rstrip('-,')}-{digest}"


def job_name(overrides: Sequence[str], left_out: Sequence[str] = ()) -> str:
    """A job's folder, named by its overrides in whatever order, without some keys and what is below them."""
    return folder_name(sorted(text.lstrip("+") for text in overrides if not is_below(key_of(text), left_out)))


def prepare_hydra() -> None:
    """Lets a config say `${job_name:overrides,left out}`; wherever Hydra names a job's folder, this was called."""
    OmegaConf.register_new_resolver("job_name", job_name, replace=True)
    # Our presets of a launcher have the plugin's own name and are checked by its schema, which is what we want.
    warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")
