"""DeiT's distillation token: a class head of its own learns from the teacher, beside the one that learns the labels."""

from pydantic import validate_call
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.types import PositiveFloat
from kdistill.losses.base import DistillBatch
from kdistill.losses.changes import BothHeads, StudentChange
from kdistill.losses.logit import cross_entropy, kd
from kdistill.losses.standardize import LogitLoss


def hard_label(student_logits: Tensor, teacher_logits: Tensor, *, sample_weight: Tensor | None = None) -> Tensor:
    """Cross-entropy with the class that the teacher names, the mean over the batch.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); no gradient flows into it. Of equal logits the first is the class.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar, 0 where the student is certain of the teacher's class.

    Source: Touvron et al., "Training data-efficient image transformers and distillation through attention", ICML 2021,
    equation 3.
    """
    wanted = teacher_logits.detach().argmax(1)
    return cross_entropy(student_logits, wanted, sample_weight=sample_weight)


class DeiT(LogitLoss):
    """`hard_label` of the distillation head, or `kd` of it; the cross-entropy beside it sees the class head.

    timm's distilled transformers (`deit_tiny_distilled_patch16_224` and their kin) have both heads; they predict with
    the mean of their logits. With `token` off, a network of one head learns both from it: the paper's hard distillation
    without a token.

    Defaults of the paper: hard labels at alpha = .5; soft ones at alpha = .1 and T = 3. The authors' code divides the
    soft loss by the number of classes too; here it is the mean over the batch alone, as the paper's equation 2. That
    names the student first in KL; the code has KL(teacher || student), and so has this.
    """

    weighs_samples = True
    takes_top_k = True
    changes_student: StudentChange | None = None

    @validate_call
    def __init__(
        self, *, hard: bool = True, temperature: PositiveFloat = 3.0, token: bool = True, standardize: bool = False
    ) -> None:
        """What is learned from the teacher, and by which head.

        Args:
            hard: its class; else its probabilities at the temperature.
            temperature: T > 0, of soft labels.
            token: the student has a distillation head.
            standardize: the logits of the head that learns from the teacher, and the teacher's, are standardised first.
        """
        super().__init__(standardize=standardize)
        self.hard = hard
        self.temperature = temperature
        self.token = token
        self.changes_student = BothHeads(remedy=NO_TOKEN) if token else None

    def compare(self, batch: DistillBatch) -> Tensor:
        logits = batch.distillation_logits if self.token else batch.student_logits
        if logits is None:
            raise UserError(f"loss deit needs a student with a distillation head; {NO_TOKEN}")
        if self.hard:
            return hard_label(logits, batch.from_teacher, sample_weight=batch.sample_weight)
        return kd(logits, batch.from_teacher, temperature=self.temperature, sample_weight=batch.sample_weight)


NO_TOKEN = (
    "take one (student=timm student.name=deit_tiny_distilled_patch16_224), or loss.token=false to teach its one head, "
    "or loss=kd"
)
