"""What it means that two configs differ in a key: one table for run folders, comparisons, sweeps and teachers' keys.

A key has a meaning. A question, such as whether two runs make one arm, has meanings that do not count.
"""

from enum import Enum

from kdistill.config.tree import Leaves, Tree, leaves


class Meaning(Enum):
    """What a key decides."""

    TRAINING = "what is trained, and how"
    SERVING = "how the data are served to a training"
    DATA = "which data; their content has a fingerprint of its own"
    FOLDER = "in which folder the data lie"
    SEED = "the seed"
    DATA_SEED = "the seed of order and augmentation, which follows the seed"
    STORED = "as what replayed outputs are stored"
    NAME = "the run's name"
    REPLAYING = "what is replayed instead of computed: the same to the last digit"
    MACHINE = "on what it is computed"
    JUDGING = "at which threshold the trained network is judged"
    WATCHING = "what is looked at while it trains"
    REPORTING = "how a run reports, and where it keeps what can be computed again"


# Arguments of Lightning's Trainer that change what is seen of a training, or where it is computed, and not its result.
TELLING = ("progress_bar", "profiler", "detect_anomaly", "enable_model_summary", "enable_autolog_hparams",
           "model_registry", "num_sanity_val_steps", "limit_predict_batches")  # fmt: skip
COMPUTING = ("accelerator", "devices", "num_nodes", "strategy", "sync_batchnorm", "deterministic", "benchmark",
             "inference_mode", "use_distributed_sampler")  # fmt: skip
SERVED = tuple(
    f"dataset.{key}"
    for key in ("batch_size", "augment", "mixup", "cutmix", "transform", "views", "sampling", "targets")
)
# Of keys that are not here, the nearest section above them decides.
MEANINGS = {
    "name": Meaning.NAME,
    "role": Meaning.TRAINING,
    "seed": Meaning.SEED,
    "device": Meaning.MACHINE,
    "decision_threshold": Meaning.JUDGING,
    "print_config": Meaning.REPORTING,
    "teacher_cache": Meaning.REPORTING,
    "allow": Meaning.REPORTING,
    "tags": Meaning.REPORTING,
    "show": Meaning.REPORTING,
    "ckpt_path": Meaning.TRAINING,
    "dataset": Meaning.DATA,
    "dataset.root": Meaning.FOLDER,
    "dataset.file": Meaning.FOLDER,
    "dataset.path": Meaning.FOLDER,
    "dataset.fetch": Meaning.REPORTING,
    "dataset.cache": Meaning.REPORTING,
    "dataset.max_pixels": Meaning.REPORTING,
    "dataset.allow_outside": Meaning.REPORTING,
    # Where the pixels of a view differ by it, the data's fingerprint does too.
    "dataset.storage": Meaning.MACHINE,
    "dataset.max_decoded_gb": Meaning.MACHINE,
    "dataset.seed": Meaning.DATA_SEED,
    "dataset.eval_batch_size": Meaning.WATCHING,
    **dict.fromkeys(SERVED, Meaning.SERVING),
    "teacher": Meaning.TRAINING,
    "teacher.gate": Meaning.WATCHING,
    "student": Meaning.TRAINING,
    "peers": Meaning.TRAINING,
    "loss": Meaning.TRAINING,
    "optimizer": Meaning.TRAINING,
    "scheduler": Meaning.TRAINING,
    "quantize": Meaning.TRAINING,
    "trainer": Meaning.TRAINING,
    "trainer.fit": Meaning.REPORTING,
    "trainer.tune_cache": Meaning.REPORTING,
    "trainer.log_every_n_steps": Meaning.REPORTING,
    **{f"trainer.{key}": Meaning.REPORTING for key in TELLING},
    **{f"trainer.{key}": Meaning.MACHINE for key in COMPUTING},
    "replay.teacher": Meaning.REPLAYING,
    "replay.prefix": Meaning.REPLAYING,
    "replay.dtype": Meaning.STORED,
    "replay.keep": Meaning.STORED,
    "replay.k": Meaning.STORED,
    "replay.max_gb": Meaning.REPORTING,
    "replay.cache": Meaning.REPORTING,
    "replay.export": Meaning.REPORTING,
    "callbacks": Meaning.TRAINING,
    "callbacks.lr": Meaning.WATCHING,
    "callbacks.resume": Meaning.REPORTING,
    "logger": Meaning.REPORTING,
}

Question = frozenset[Meaning]  # the meanings that do not count

SAME_JOB: Question = frozenset({Meaning.REPORTING})
"""Is this finished run the one that a sweep's job asks for?"""
GOING_ON: Question = SAME_JOB | {Meaning.REPLAYING, Meaning.MACHINE, Meaning.JUDGING, Meaning.WATCHING}
"""May an unfinished run go on with this config?"""
SAME_CONTROL: Question = SAME_JOB | {Meaning.NAME, Meaning.REPLAYING, Meaning.WATCHING}
"""Is this the very training, under whatever name?"""
SAME_COMPARISON: Question = SAME_CONTROL | {Meaning.SEED}
"""Are the same arms to be trained and tested, with whatever seeds?"""
SAME_SETTINGS: Question = SAME_COMPARISON | {Meaning.DATA_SEED}
"""Do runs of a sweep differ in their seed alone?"""
SAME_ARM: Question = SAME_SETTINGS | {Meaning.MACHINE, Meaning.JUDGING, Meaning.FOLDER}
"""Do finished runs, whose data have fingerprints, make one arm?"""
SAME_TEACHER: Question = GOING_ON | {Meaning.NAME, Meaning.STORED, Meaning.DATA, Meaning.FOLDER}
"""Does a recipe lead to the same weights, on data of the same fingerprint?"""

# The data's keys in which a teacher's recipe keeps its own word: all others are the student's.
RECIPES_OWN = frozenset({Meaning.SERVING, Meaning.DATA_SEED, Meaning.WATCHING})


def meaning(key: str) -> Meaning:
    """What a dotted key of a config decides.

    >>> meaning("trainer.tune_cache").name, meaning("trainer.max_epochs").name
    ('REPORTING', 'TRAINING')
    """
    while key and key not in MEANINGS:
        key = key.rpartition(".")[0]
    return MEANINGS.get(key, Meaning.TRAINING)


def counts(key: str, question: Question) -> bool:
    """Whether another value of a key is another answer to a question."""
    return meaning(key) not in question


def that_count(tree: Tree, question: Question) -> Leaves:
    """Those values of a plain config, by dotted key, that a question depends on: equal values, equal answer."""
    given = {key: value for key, value in leaves(tree).items() if value is not None or key != "ckpt_path"}
    return {key: value for key, value in given.items() if counts(key, question)}


def keys_of(wanted: Meaning) -> tuple[str, ...]:
    """The keys and sections of a meaning."""
    return tuple(key for key, found in MEANINGS.items() if found is wanted)
