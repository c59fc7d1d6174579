"""Class names matched by name."""

from kdistill.base.classes import listed, match


def test_classes_are_found_by_name_wherever_they_stand() -> None:
    found = match(["ant", "cat", "bee"], ["ant", "bee", "cat"])
    assert found.numbers == [0, 2, 1] and found.complete and found.changes and not found.respelt
    assert not match(["ant", "bee"], ["ant", "bee"]).changes
    wider = match(["bee", "ant"], ["ant", "bee", "cat"])
    assert (wider.numbers, wider.extra, wider.changes) == ([1, 0], ("cat",), True)
    narrower = match(["ant", "bee"], ["bee"])
    assert narrower.order == (None, 0) and not narrower.complete


def test_a_spelling_that_differs_in_case_and_gaps_is_the_same_class_unless_two_share_it() -> None:
    found = match(["polar bear", "Ant"], ["ant", "Polar_Bear"])
    assert found.numbers == [1, 0]
    assert found.respelt == (("polar bear", "Polar_Bear"), ("Ant", "ant"))
    assert match(["ant", "ANT"], ["ANT", "ant"]).numbers == [1, 0], "exact names come first"
    assert match(["Ant"], ["ant", "ANT"]).order == (None,)


def test_many_names_are_cut_short() -> None:
    assert listed([str(k) for k in range(1000)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 988 more"
