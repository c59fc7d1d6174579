"""What the program reads in sections of networks and teachers."""

from omegaconf import OmegaConf

from kdistill.config.specs import NetworkSpec, TeacherSpec, trained_kind


def test_what_a_section_leaves_out_has_a_default_and_its_targets_arguments_are_passed_over() -> None:
    assert NetworkSpec.of(OmegaConf.create({"_target_": "a.B", "width": 3})) == NetworkSpec()
    assert TeacherSpec.of(OmegaConf.create({"_target_": "a.B", "gate": "off"})) == TeacherSpec(gate=False)


def test_one_number_is_a_square_and_interpolations_are_resolved() -> None:
    config = OmegaConf.create({"role": "distill", "side": 96, "student": {"image_size": "${side}", "mean": [0.5]}})
    assert NetworkSpec.of(config.student) == NetworkSpec(image_size=(96, 96), mean=(0.5,))
    assert NetworkSpec.of(OmegaConf.create({"image_size": [64, 32]})).image_size == (64, 32)
    assert trained_kind(config) == "student"
