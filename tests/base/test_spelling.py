"""What is offered for a word that nobody knows."""

from kdistill.base.spelling import did_you_mean, near_key


def test_the_nearest_word_is_offered_and_nothing_when_none_is_near() -> None:
    assert did_you_mean("mnist_distil", ["mnist_distill", "mnist_teacher"]) == "; did you mean 'mnist_distill'?"
    assert did_you_mean("nothere", ["mnist_distill"]) == ""


def test_a_key_in_the_wrong_section_is_found_by_its_last_part() -> None:
    keys = ["loss.temperature", "loss.alpha", "teacher", "optimizer.lr"]
    assert near_key("temperature", keys) == "; did you mean 'loss.temperature'?"
    assert near_key("loss.temprature", keys) == "; did you mean 'loss.temperature'?"
    assert near_key("optimiser.lr", keys) == "; did you mean 'optimizer.lr'?"
    assert near_key("loss.qqq", keys) == ""
