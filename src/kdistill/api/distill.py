"""`kdistill.distill`: a run from Python, by the code of `python -m kdistill.train`."""

import logging
import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, open_dict

from kdistill.api.calling import called
from kdistill.api.run import Run
from kdistill.api.words import data_words, is_place, network_words, section_words, words_of
from kdistill.base.errors import UserError
from kdistill.base.ranks import ranks_of
from kdistill.base.run_paths import find_run
from kdistill.base.weight_files import weights_path
from kdistill.config.compose import compose_config
from kdistill.config.sections import given_objects
from kdistill.config.specs import trained_kind
from kdistill.config.trainer_arguments import several_processes
from kdistill.config.tree import plain, targets, walk
from kdistill.config.validate import validate

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

_KEY = re.compile(r"\w[\w -]*")
_NEEDED = ("teacher", "student", "data")


def distill(
    teacher: Any = None,
    student: Any = None,
    data: Any = None,
    *,
    loss: "str | nn.Module | Mapping[str, Any] | None" = None,
    epochs: int | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    experiment: str | None = None,
    callbacks: Any = None,
    **keys: Any,
) -> Run:
    """Trains a student from a teacher, tests it once and leaves a run folder, as `python -m kdistill.train` does.

    Threads, random generators, warnings and signals of the calling program are afterwards as they were.

    Args:
        teacher: who is learned from. An `nn.Module` (images (N, C, H, W) float32 in, logits (N, K) out), taken with its
            weights; give `**{"teacher.mean": [...], "teacher.std": [...]}` where its images were normalised otherwise
            than by the data's own mean and standard deviation. Or a finished run's folder, or one of our or timm's
            names (trained first on these data, once); or a dict of the section's keys, such as
            `{"name": "resnet18", "checkpoint": "weights.pt"}`.
        student: who learns. The same; a module begins with the weights that it has, a class or a function that makes
            one (it may take `num_classes` and `in_chans`) anew for each seed, a folder or a file with the weights
            there.
        data: a folder of pictures, a .csv, .npz or .npy file, the name of a config (`mnist`), a LightningDataModule,
            data sets of (image, label) as `(train, test)` or `(train, val, test)` or one that is cut, or three loaders.
        loss: a method by its name, such as `kd` (without one) or `dkd`; keys of it; or an `nn.Module` that takes a
            `kdistill.losses.DistillBatch` and gives a scalar, whose weight `alpha` (0 to 1) is `**{"loss.alpha": 0.9}`.
        epochs: how many; `trainer.max_epochs`.
        seed: of weights, order and views.
        folder: the run's; an unfinished run of the same settings in it goes on. None: `outputs/<date>/<time>-<name>`.
        experiment: one of `conf/experiment`, such as `mnist_distill`, which the other arguments change; then none of
            them is needed.
        callbacks: Lightning's, or names of configs, beside the usual ones.
        keys: config keys: `optimizer="sgd"`, `optimizer={"lr": 0.1}`, `**{"optimizer.lr": 0.1}`.

    Returns:
        The finished run.

    Raises:
        UserError: a mistake in what was given, all of them at once, before anything is trained; or what training ran
            into that you can mend.

    Examples:
        >>> run = kdistill.distill(my_teacher, "mobilenetv3_small_100", "photos/", epochs=20)  # doctest: +SKIP
        >>> run.figures["test"]["accuracy"]  # doctest: +SKIP
        0.912
    """
    given = {"teacher": teacher, "student": student, "data": data}
    if experiment is None and (missing := [name for name in _NEEDED if given[name] is None]):
        raise UserError(
            f"distill lacks {' and '.join(missing)}: give them, or experiment= one of conf/experiment, such as "
            "experiment='mnist_distill'"
        )
    with called():
        cache = Path(keys.get("teacher_cache", "outputs/teachers"))
        words = [f"+experiment={experiment}"] if experiment else ["name=distill", "role=distill"]
        allow = keys.get("allow", ())
        for kind in ("teacher", "student"):
            if given[kind] is not None:
                words += _network(kind, given[kind], cache, allow)
        if data is not None:
            words += _data(data)
        is_own_loss = hasattr(loss, "state_dict")
        words += words_of({"loss": "kd"} if is_own_loss or (loss is None and not experiment) else {})
        more: dict[str, Any] = {} if loss is None or is_own_loss else {"loss": loss}
        more |= {"seed": seed} | ({} if epochs is None else {"trainer.max_epochs": epochs})
        names, own_callbacks = _callbacks(callbacks)
        config = compose_config([*words, *words_of({**names, **more, **keys})])
        if is_own_loss or own_callbacks:
            _put(config, loss if is_own_loss else None, own_callbacks)
        path = Path(folder) if folder is not None else _new_folder(str(config.name))
        _train(config, path)
    return Run(path, allow=_own_code(config))


def _network(kind: str, given: Any, teacher_cache: Path, allow: Any) -> list[str]:
    """A network as words, whatever it is given as."""
    if isinstance(given, Mapping):
        if "name" in given and "_target_" not in given:
            return network_words(kind, str(given["name"]), {key: one for key, one in given.items() if key != "name"})
        return section_words(kind, "custom", given)
    if isinstance(given, str) and not is_place(given):
        return network_words(kind, given)
    if isinstance(given, str | Path):
        return section_words(kind, "custom", _from_place(kind, given, allow))
    if not callable(given):
        raise UserError(
            f"{kind}={given!r}: give an nn.Module, a name of timm's or ours, a run's folder, a file of weights in one, "
            f"or a dict of keys such as {{'name': 'resnet18', 'weights': 'file.pt'}}"
        )
    from kdistill.api.objects import network_section

    section = network_section(given, weights_in=teacher_cache if kind == "teacher" else None)
    if kind == "teacher" and "checkpoint" not in section:
        raise UserError("teacher= is a class or a function that makes one: give a network with its weights")
    return section_words(kind, "custom", section)


def _from_place(kind: str, place: str | Path, allow: Any) -> dict[str, Any]:
    """The section of the network whose weights lie in a run's folder.

    Raises:
        UserError: there are none, or a file that does not say whose network it is for.
    """
    from kdistill.building.trust import check_trusted
    from kdistill.runs.folder import RunFolder

    file = weights_path(place)
    homes = [home for home in (file.parent, file.parent.parent) if RunFolder(home).finished]
    if not homes:
        raise UserError(
            f"{kind}={place}: a file of weights does not say which network it is of: give "
            f"{kind}={{'name': <timm's name>, '{'checkpoint' if kind == 'teacher' else 'weights'}': '{place}'}}"
        )
    config = RunFolder(find_run(str(homes[0]), kind)).config()
    section = config[trained_kind(config)]
    check_trusted(section, list(allow), homes[0])
    names = [str(name) for _, part in walk(plain(section)) if isinstance(part, Mapping) for name in part]
    if strange := [name for name in names if not _KEY.fullmatch(name)]:  # a dot or a colon could make other sections
        raise UserError(
            f"{homes[0]}: its config has the key {strange[0]!r}: of a network that is taken from a folder keys have "
            "letters, numbers, blanks and - alone"
        )
    own = {"checkpoint": str(place), "recipe": None} if kind == "teacher" else {"weights": str(file)}
    kept = {
        key: value for key, value in plain(section).items() if key not in ("recipe", "recipe_overrides", "checkpoint")
    }
    return {**kept, "weights": "none", **own}


def _data(given: Any) -> list[str]:
    if isinstance(given, str | Path):
        return data_words(given)
    from kdistill.api.objects import data_section

    return section_words("dataset", "custom", data_section(given))


def _callbacks(given: Any) -> tuple[dict[str, Any], list[Any]]:
    """Of callbacks the names, as a key, and the objects."""
    listed = [] if given is None else list(given) if isinstance(given, list | tuple) else [given]
    names = [one for one in listed if isinstance(one, str)]
    return {"callbacks": ["default", *names]} if names else {}, [one for one in listed if not isinstance(one, str)]


def _put(config: DictConfig, loss: Any, callbacks: list[Any]) -> None:
    """Puts sections in place that stand for objects.

    Raises:
        UserError: a callback is none.
    """
    from pytorch_lightning import Callback

    from kdistill.api.objects import callback_section, loss_section

    with open_dict(config):
        if loss is not None:
            kept = {key: config.loss[key] for key in ("alpha", "ce", "gather") if key in config.loss}
            config.loss = {**loss_section(loss), **kept}
        for one in callbacks:
            if not isinstance(one, Callback):
                raise UserError(f"callbacks: {one!r} is no callback of Lightning's and no config's name")
            section = callback_section(one)
            config.callbacks[f"{section['name'].lower()}_{section['fingerprint'][:6]}"] = section
    validate(config)


def _new_folder(name: str) -> Path:
    now = datetime.now()
    path, number = Path("outputs", f"{now:%Y-%m-%d}", f"{now:%H-%M-%S}-{name}"), 1
    while path.exists():
        number += 1
        path = path.with_name(f"{now:%H-%M-%S}-{name}-{number}")
    return path


def _train(config: DictConfig, folder: Path) -> None:
    """The run, by this process, or by this one of several that torchrun or srun has started."""
    ranks = ranks_of(os.environ)
    if ranks is None and several_processes(config):
        raise UserError(
            f"trainer.devices={config.trainer.get('devices')}: a program of your own is one process; start the script "
            "by torchrun (torchrun --nproc-per-node=2 script.py), or use python -m kdistill.train"
        )
    if objects := given_objects(plain(config)):
        log.info(
            "%s: objects of this program. config.yaml has their names and fingerprints: the run can't be made again "
            "from its folder alone", ", ".join(objects),
        )  # fmt: skip
    from kdistill.train import train

    train(config, folder, ranks, in_sweep=False)


def _own_code(config: DictConfig) -> list[str]:
    """What a run's config names that is not on the closed list: the caller's word, so it is trusted in this process."""
    from kdistill.building.trust import is_trusted

    named = {
        str(section["_target_"]): key.startswith(("callbacks", "logger")) for key, section in targets(plain(config))
    }
    return sorted(name for name, watches in named.items() if not is_trusted(name, watches=watches))
