"""Where the configuration folder lies: in the installed wheel, or beside `src/` in a clone."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def conf_dir() -> str:
    """Absolute path of `conf/`: inside the package in a wheel, at the top of the repository in a clone.

    Raises:
        FileNotFoundError: neither place holds `train.yaml`.
    """
    places = (PACKAGE / "conf", PACKAGE.parents[1] / "conf")
    for place in places:
        if (place / "train.yaml").is_file():
            return str(place)
    raise FileNotFoundError(f"no conf/train.yaml in {' or '.join(map(str, places))}: the installation is incomplete")
