"""Whether a training that came to its end has diverged all the same, by what validation says."""

import math

_TIMES = 100  # as bad as knowing nothing: networks that were trained in earnest and are overconfident reach 10


def divergence(chosen: float, last: float, classes: int) -> str | None:
    """Why a training has diverged, in words; None where it has not.

    A network that knows nothing and says so has an NLL of ln(classes). Diverged is a training whose NLL on validation
    is more than 100 times that, or no number, at the checkpoint that was chosen or after the last epoch.

    Args:
        chosen: NLL of the chosen checkpoint on validation, in nats.
        last: the same after the last epoch.
        classes: K, at least 2 where there is anything to know.

    Examples:
        >>> divergence(0.3, 0.5, 10) is None
        True
        >>> divergence(1e16, 2e16, 10)
        "validation's NLL is 1e+16 at the chosen checkpoint, and 2.30 in a network that knows nothing"
    """
    nothing = math.log(max(classes, 2))
    for value, when in ((chosen, "at the chosen checkpoint"), (last, "after the last epoch")):
        if not value <= _TIMES * nothing:
            return f"validation's NLL is {value:.3g} {when}, and {nothing:.2f} in a network that knows nothing"
    return None
