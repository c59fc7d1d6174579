"""`kdistill schema` and `kdistill completion`."""

import subprocess
from dataclasses import fields

import pytest

from kdistill.config.completion import SHELLS, completion
from kdistill.config.json_schema import SCHEMAS, json_schema


@pytest.mark.parametrize("command", SCHEMAS)
def test_a_schema_has_every_key_of_its_command_with_words_ranges_and_defaults(command: str) -> None:
    schema = json_schema(command)
    assert set(schema["properties"]) == {one.name for one in fields(SCHEMAS[command])}
    assert schema["additionalProperties"] is False


def test_words_ranges_defaults_and_open_sections_are_in_it() -> None:
    keys = json_schema("train")["properties"]
    assert keys["device"] == {"type": "string", "enum": ["auto", "cpu", "cuda"], "default": "auto"}
    assert keys["seed"]["minimum"] == 0 and "default" not in keys["role"]
    assert keys["trainer"]["additionalProperties"] is True
    assert keys["trainer"]["properties"]["max_epochs"]["exclusiveMinimum"] == 0
    assert {"type": "null"} in keys["teacher"]["anyOf"]


def test_the_first_word_after_kdistill_is_completed_to_a_command() -> None:
    typed = 'COMP_WORDS=(kdistill ex) COMP_CWORD=1 COMP_LINE="kdistill ex"; _kdistill; echo "[${COMPREPLY[*]}]"'
    script = f"{completion('bash', ['train', 'export', 'evaluate'])}\n{typed}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[export ]"
    assert all("train export" in completion(shell, ["train", "export"]) for shell in SHELLS)


def test_the_words_after_a_command_are_asked_of_that_command() -> None:
    words = "loss.alpha= loss.temperature="
    stub = f'kdistill() {{ [ "$1:$COMP_LINE" = "train:kdistill-train loss.t" ] && echo "{words}"; }}'
    line = 'COMP_WORDS=(kdistill train loss.t) COMP_CWORD=2 COMP_LINE="kdistill train loss.t"'
    typed = f'{line}; _kdistill; echo "${{COMPREPLY[*]}}"'
    script = f"{completion('bash', ['train'])}\n{stub}\n{typed}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "loss.temperature="
