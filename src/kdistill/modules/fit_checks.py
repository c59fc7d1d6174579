"""Whether a loss fits those who teach, one teacher, several, answers alone or peers; and whether it fits the data."""

from torch import nn

from kdistill.base.errors import UserError
from kdistill.data.arrays import Split
from kdistill.losses.base import WeightedSum
from kdistill.losses.changes import BothHeads, TeacherHead
from kdistill.losses.feature import FeatureLoss
from kdistill.losses.targets import learns_from


def check_loss_of_several(loss: WeightedSum) -> None:
    """Refuses a loss that would choose layers of one teacher, or take over its class head, where there are several.

    Raises:
        UserError: naming the part and what to take instead.
    """
    for name, part in loss.parts.items():
        if isinstance(part, FeatureLoss) and part.layers == "auto":  # simkd, which takes over the head, always
            raise UserError(
                f"loss {name} compares layers of the student with those of one teacher, and there are several: take a "
                "loss on logits (loss=kd), or name layers of one member (of the first: "
                "loss.layers=[[student layer, members.0.1.<its layer>]])"
            )


def check_loss_of_answers(loss: WeightedSum) -> None:
    """Refuses a loss that looks into the teacher, where nothing but its answers is known.

    Raises:
        UserError: naming the part and what to take instead.
    """
    for name, part in loss.parts.items():
        if isinstance(part, FeatureLoss) or isinstance(getattr(part, "changes_student", None), TeacherHead):
            raise UserError(
                f"teacher=answers has logits alone, and loss {name} looks at layers of the teacher: take a loss on "
                "logits (loss=kd, dkd, dist, mlkd ...), or give the teacher's network (teacher.checkpoint=)"
            )


def check_loss_of_top_k(loss: WeightedSum, k: int) -> None:
    """Refuses a loss that needs the teacher's logits of all classes, where those of k are stored.

    Raises:
        UserError: naming the part and what to take instead.
    """
    for name, part in needing_all_logits(loss).items():
        why = "needs the teacher's logits of all classes (or does not say takes_top_k = True)"
        if hasattr(part, "teacher_layers"):
            why = "looks at layers of the teacher"
        elif getattr(part, "takes_top_k", False):
            why = "standardises logits, for which it needs those of all classes"
        raise UserError(
            f"replay.keep=top_k stores the teacher's {k} likeliest classes, and loss {name} {why}: take another "
            "(loss=kd, ctkd, deit), or store all (replay.keep=all, smaller with replay.dtype=int8)"
        )


def needing_all_logits(loss: WeightedSum) -> dict[str, nn.Module]:
    """The parts, by name, that would learn something else from the teacher's likeliest classes alone.

    Those do not that look at labels alone, or compare whole distributions and say so (`takes_top_k = True`), of logits
    that are not standardised.
    """
    return {
        name: part
        for name, part in loss.parts.items()
        if learns_from(part) != "labels"
        and not (getattr(part, "takes_top_k", False) and not getattr(part, "standardize", False))
    }


def check_loss_of_peers(loss: WeightedSum) -> None:
    """Refuses a loss with a part that must know the shapes of layers, or names layers, or wants more than logits.

    Raises:
        UserError: naming the part.
    """
    for name, part in loss.parts.items():
        if callable(getattr(part, "bind", None)) or hasattr(part, "teacher_layers"):
            raise UserError(f"peers learn from each other's logits, and loss {name} looks at layers: choose loss=kd")
        if getattr(part, "views", 1) > 1:
            raise UserError(f"peers learn from one view of an image, and loss {name} looks at two: choose loss=kd")
        if isinstance(getattr(part, "changes_student", None), BothHeads):
            raise UserError(
                f"peers learn from each other with the head that answers, and loss {name} teaches a distillation head: "
                "loss.token=false, or choose loss=kd"
            )


def check_loss_of_data(loss: WeightedSum, train: Split, *, unlabelled: bool = False) -> None:
    """Refuses a loss that can't count one sample more than another, or has no use for pictures without labels.

    Args:
        loss: as it is trained on.
        train: the labelled images; they may have weights.
        unlabelled: whether there are pictures without labels too.

    Raises:
        UserError: naming the part: it compares the samples of a batch with each other, or does not know of weights; it
            needs the label of each sample. Or no part learns from a teacher alone.
    """
    _check_unlabelled(loss, unlabelled)
    if train.sample_weight is None or not loss.unweighed:
        return
    name = loss.unweighed[0]
    why = (
        "compares the samples of a batch with each other, so that none counts by itself"
        if name in loss.needing_batch
        else "does not say that it does so (weighs_samples = True, and kdistill.losses.base.mean of its values)"
    )
    raise UserError(
        f"dataset.weight counts one sample more than another, and loss {name} {why}: take another (loss=kd), or "
        "dataset.weight=null"
    )


def _check_unlabelled(loss: WeightedSum, unlabelled: bool) -> None:
    kinds = {name: learns_from(part) for name, part in loss.parts.items()}
    if not unlabelled:
        return
    if both := [name for name, kind in kinds.items() if kind == "both"]:
        raise UserError(
            f"loss {both[0]} needs the label of each sample beside what the teacher says, and dataset.unlabeled has "
            "none: take another (loss=kd, dist, mse, a loss on layers), or dataset.unlabeled=null"
        )
    if "teacher" not in kinds.values():
        raise UserError(
            f"loss {' and '.join(kinds)} learns from labels alone, and dataset.unlabeled has none: take loss=kd, or "
            "dataset.unlabeled=null"
        )


def who_sees_the_batch(loss: WeightedSum, *, processes: int, images: int) -> tuple[bool, str] | None:
    """What is said of a loss that needs a batch as a whole, where several processes share it out.

    Args:
        loss: the run's.
        processes: how many train together.
        images: of a batch, of all processes.

    Returns:
        Whether all is well, and one line; None where there is nothing to say.
    """
    needing = " and ".join(loss.needing_batch)
    if processes > 1 and loss.unlike_parts:
        return True, (
            f"each of {processes} processes sees the whole batch ({images} images), for their parts of it have unlike "
            "numbers of labels"
        )
    if processes == 1:
        said = "loss.gather=true: a single process sees every batch as a whole, and nothing is gathered"
        return (True, said) if loss.gather else None
    if not needing:
        said = (
            "loss.gather=true: the loss is a mean over samples, and that of parts is that of all: nothing is gathered"
        )
        return (True, said) if loss.gather else None
    if loss.gathers:
        return True, f"loss {needing} sees the whole batch ({images} images), gathered from {processes} processes"
    return False, (
        f"loss {needing} needs the batch as a whole, and each of {processes} processes sees its own part "
        f"({images // processes} of {images} images): loss.gather=true gathers them"
    )
