"""What so few samples can prove at most."""


def least_p(samples: int) -> float:
    """The smallest two-sided p that an exact paired test of two networks on N samples can give: 2 / 2^N.

    Where there is no difference, each sample's pair of answers might as well be swapped: of the 2^N ways to do that,
    the one seen and its mirror image are as extreme as it gets. Formulas for many samples know no such bound, and where
    nothing varies by chance among a handful they would give 0.

    Args:
        samples: N.

    Source: Fisher's randomisation test, as in Good, "Permutation, parametric and bootstrap tests of hypotheses", 2005.
    """
    return min(1.0, 2.0 ** (1 - samples))
