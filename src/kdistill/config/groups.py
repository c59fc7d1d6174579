"""Whether the groups that a command line chooses can be chosen: the option is there, with or without a plus."""

import dataclasses
from collections.abc import Sequence

from kdistill.base.spelling import did_you_mean, nearest
from kdistill.config.foreign import word_advice
from kdistill.config.hydra_setup import ConfigFiles, Override, OverrideType


def check_groups(files: ConfigFiles, groups: Sequence[Override]) -> tuple[list[Override], list[str]]:
    """The group overrides that can be composed, and what is wrong with the others."""
    there, good, found = [], [], []
    for override in groups:
        group, value = override.key_or_group, override.value()
        names = [] if override.is_delete() else value if isinstance(value, list) else [value]
        words = ["null" if name is None else str(name) for name in names]
        wrong = [word for word in words if not files.has(f"{group}/{word}")]
        found += [no_option(group, word, files) for word in wrong]
        meant = nearest(wrong[0], files.options(group)) if wrong else words
        if meant or override.is_delete():  # with what was meant, the rest can be checked
            there.append(override if not wrong else dataclasses.replace(override, _value=meant[0]))
    by_default = files.choices_by_default()
    added = [o for o in there if o.is_add() and o.get_key_element()[1:] not in by_default]
    choices = files.choices(added) if added else by_default  # an experiment may bring groups of its own
    for override in there:
        key, text = override.get_key_element().lstrip("+~"), str(override.input_line)
        if override in added or (key in choices and (override.is_delete() or text[0] != "+")):
            good.append(override)
        elif key in choices:
            found.append(f"{text}: '{key}' is chosen already, write it without the plus: {text.lstrip('+')}")
            good.append(dataclasses.replace(override, type=OverrideType.CHANGE))
        else:
            found.append(f"{text}: nothing is chosen for '{key}' yet, write it with a plus: +{text.lstrip('+~')}")
            good.append(dataclasses.replace(override, type=OverrideType.ADD))
    return good, found


def no_option(group: str, name: str, files: ConfigFiles) -> str:
    """The message for an option that a group does not have; without a group, for a config."""
    options = files.options(group)
    place = f"option '{name}' in group '{group}'" if group else f"config '{name}'"
    instead = word_advice(group, name)
    return f"no {place}{f': {instead}' if instead else did_you_mean(name, options)} (there are: {', '.join(options)})"
