"""What of the section `replay` is contradictory, and what `auto` means for forms that lose something."""

import pytest

from kdistill.base.errors import UserError
from kdistill.config.compose import compose_config
from kdistill.config.replaying import teacher_switch


@pytest.mark.parametrize("form", ["replay.keep=top_k", "replay.dtype=int8"])
def test_with_a_form_that_loses_something_answers_are_always_or_never_those_of_the_store(form: str) -> None:
    assert teacher_switch(compose_config(["+experiment=mnist_distill", form]).replay) == "on"
    with pytest.raises(UserError, match=f"replay.teacher=off computes .* so {form} would store none of them"):
        compose_config(["+experiment=mnist_distill", form, "replay.teacher=off"])


@pytest.mark.parametrize("switch", ["auto", "on", "off"])
def test_other_forms_are_stored_as_the_switch_says(switch: str) -> None:
    words = ["+experiment=mnist_distill", "replay.dtype=bf16", f"replay.teacher={switch}"]
    assert teacher_switch(compose_config(words).replay) == switch
