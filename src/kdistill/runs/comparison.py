"""What a comparison found: `comparison.json`, as one object."""

from dataclasses import dataclass

from kdistill.base.cost import Cost
from kdistill.base.types import Role
from kdistill.runs.device_files import ArmDevice


@dataclass(frozen=True)
class TestSet:
    """What every arm was tested on; `fingerprint` is of images, targets and partitions."""

    samples: int
    class_names: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class Mean:
    """One metric of an arm.

    Attributes:
        mean: over the seeds.
        low, high: 95 % interval, within what the metric can be.
        se: standard error of the mean.
        df: degrees of freedom; None where they are infinite.
        seed_sd: standard deviation from seed to seed; None with one seed.
        values: of each seed.
    """

    mean: float
    low: float
    high: float
    se: float
    df: float | None
    seed_sd: float | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Effect(Mean):
    """A difference of two arms in one metric, and what is to be thought of it.

    Attributes:
        p: two-sided, of no difference.
        p_holm: adjusted for all pairs that the metric is asked of.
        better: higher or lower.
        verdict: helped, hurt or inconclusive.
    """

    p: float
    p_holm: float
    better: str
    verdict: str


@dataclass(frozen=True)
class ArmFigures:
    """One arm.

    Attributes:
        name: of the arm.
        role: teacher, student, distill or mutual.
        label: what people call its network.
        seeds: of its runs; of a teacher that is known through its students alone, none.
        runs: their folders; of such a teacher, the file of its weights.
        metrics: by the catalogue's keys; what is not defined for some run is not there.
        temperatures: that validation chose, of each run; None where it kept no predictions of it.
        cost: of its network; what was measured is the median over the runs.
        ratio: the FLOPs of the teacher, or of the heaviest arm, by its own; None where it has none.
    """

    name: str
    role: Role
    label: str
    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    metrics: dict[str, Mean]
    temperatures: tuple[float | None, ...]
    cost: Cost
    ratio: float | None = None


@dataclass(frozen=True)
class McNemarTest:
    """Of each seed: how many images only one of the two has right, and the exact p; and p of all seeds together."""

    only_baseline_right: tuple[int, ...]
    only_arm_right: tuple[int, ...]
    p_per_seed: tuple[float, ...]
    p_of_these_networks: float


@dataclass(frozen=True)
class DeLongTest:
    """Of the AUROC of two classes, of each seed."""

    p_per_seed: tuple[float, ...]


@dataclass(frozen=True)
class Pair:
    """An arm against another, seed by seed on the same samples.

    Attributes:
        arm: whose gain is asked for.
        baseline: against which.
        seeds: that both have.
        metrics: arm less baseline; empty where no seed is shared.
        mcnemar: of these very networks on new samples; `delong` likewise, of two classes.
    """

    arm: str
    baseline: str
    seeds: tuple[int, ...]
    metrics: dict[str, Effect]
    mcnemar: McNemarTest | None = None
    delong: DeLongTest | None = None

    @property
    def title(self) -> str:
        return f"{self.arm} against {self.baseline}"


@dataclass(frozen=True)
class Comparison:
    """Arms that were tested on the same samples.

    Attributes:
        name: of the comparison.
        test: what they were tested on.
        arms: the teacher first.
        pairs: with their verdicts.
        versions: by package, those that the runs were trained with.
        notes: what a reader must know before believing the verdicts.
        command: that made it, where somebody typed it.
        devices: the files that the arms' runs were exported to.
    """

    name: str
    test: TestSet
    arms: tuple[ArmFigures, ...]
    pairs: tuple[Pair, ...]
    versions: dict[str, list[str]]
    notes: tuple[str, ...]
    command: str | None = None
    devices: tuple[ArmDevice, ...] = ()
