"""`python -m kdistill.evaluate run=<folder>`: a finished run's test figures, from its files."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from omegaconf import DictConfig

from kdistill.config.cli import run_door

if TYPE_CHECKING:
    from torch import nn

    from kdistill.runs.evaluation import Evaluation

Module = TypeVar("Module")
log = logging.getLogger(__name__)


def evaluate(config: DictConfig) -> "Evaluation":
    """Rebuilds a run's network from its folder and tests it, in float32.

    Args:
        config: a composed `evaluate` config.

    Returns:
        The figures, beside the run's own where the data are the same.

    Raises:
        UserError: no finished run there, a target that is not trusted, or data of another shape.
    """
    from omegaconf import open_dict

    from kdistill.base.errors import UserError
    from kdistill.base.run_paths import find_run
    from kdistill.base.spelling import counted
    from kdistill.building.device import choose_channels_last, choose_device
    from kdistill.building.restore import Restored, joined, restore
    from kdistill.building.stored import stored_config, stored_data, stored_network
    from kdistill.config.specs import are_answers
    from kdistill.config.validate import validate
    from kdistill.data.arrays import per_class
    from kdistill.modules.predictions import answers, figures, predict
    from kdistill.modules.student import StudentModule
    from kdistill.modules.teacher import TeacherModule
    from kdistill.runs.evaluation import Evaluation
    from kdistill.runs.folder import RunFolder
    from kdistill.runs.record import Normalisation, TeacherFacts
    from kdistill.teachers.recipe import member_sections
    from kdistill.training.presence import say_absent

    validate(config)
    folder = RunFolder.open(find_run(config.run, "run"))
    record = folder.record()
    trained = stored_config(folder, record, config.allow)
    device = choose_device(config.device)
    other_data = config.dataset.root is not None
    facts, class_names = record.data, record.data.class_names
    data = stored_data(
        folder,
        trained,
        record,
        cache=config.dataset.cache,
        root=config.dataset.root,
        batch_size=config.dataset.batch_size,
        max_pixels=config.dataset.max_pixels,
        allow_outside=config.dataset.allow_outside,
    )
    test = data.load_test_of(class_names)  # the test partition alone: other data need not bring training images
    say_absent("test", test, class_names)
    shown, root = per_class(test, class_names), trained.dataset.get("root")
    log.info("test: %s of %s: %s", counted(len(test), "image"), root or trained.dataset._target_, shown)
    if tuple(test.image.shape[1:]) != facts.image_shape:
        raise UserError(f"test images are {tuple(test.image.shape[1:])}, the run's were {facts.image_shape}")

    def load(section: DictConfig, one: TeacherFacts) -> Restored:
        own = None if one.class_map is None else {name: list(theirs) for name, theirs in one.class_map.items()}
        with open_dict(section):
            section.class_map = own  # the record's: a file of it may be gone, or changed
        return restore(Path(one.checkpoint), section, "teacher", facts, allowed=list(config.allow))

    def as_module(kind: Callable[..., Module], network: "nn.Module", own: Normalisation) -> Module:
        channels_last = choose_channels_last(trained.trainer.channels_last, network)
        return kind(network, channels_last=channels_last, mean=own.mean, std=own.std)

    network = stored_network(folder, trained, record, allowed=list(config.allow)).network
    batches = data.eval_loader(test)
    predictions = predict(as_module(StudentModule, network, record.input), batches, data, device)
    taught = record.teacher
    from_file = taught is not None and are_answers(trained.teacher)
    members = () if taught is None or from_file else taught.each
    gone = [one.checkpoint for one in members if not Path(one.checkpoint).is_file()]
    if taught is not None and taught.input is not None and members and not gone:
        several = "members" in trained.teacher
        sections = member_sections(trained.teacher, list(config.allow)) if several else [trained.teacher]
        asked = [load(section, one) for section, one in zip(sections, members, strict=True)]
        whole = joined(trained.teacher, asked) if several else asked[0].network
        predictions |= answers(as_module(TeacherModule, whole, taught.input), batches, data, device)
    asked_again = f"{', '.join(gone)} is gone: no agreement" if gone else taught.checkpoint if taught else None
    if from_file:
        asked_again = f"{asked_again} holds its answers, which are not asked for again: no agreement"
    return Evaluation(
        run=str(folder.path),
        label=record.label,
        dataset_root=root,
        teacher=asked_again,
        test=figures(predictions),
        recorded=None if other_data else record.test,
    )


def job(config: DictConfig) -> None:
    """One job of the command line."""
    from kdistill.base.storage import write_json
    from kdistill.reporting.screen import print_evaluation

    result = evaluate(config)
    print_evaluation(result)
    if config.output is not None:
        write_json(Path(config.output), asdict(result))


def main() -> None:
    """The door; also the console script `kdistill-evaluate`."""
    run_door(job, "evaluate")


if __name__ == "__main__":
    main()
