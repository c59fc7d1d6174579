"""Which of a teacher's classes make each class of the run, where a teacher knows more classes than that, or others."""

import csv
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from kdistill.base.bounded import read_bounded, read_json
from kdistill.base.classes import listed, match
from kdistill.base.errors import UserError
from kdistill.base.plain_text import shortened
from kdistill.base.spelling import did_you_mean

KEY = "teacher.class_map"
Given = dict[str, Any] | list[Any]
ClassMap = dict[str, tuple[str, ...]]  # as a record keeps it: of each class of the run the teacher's, by name or number
_ENDINGS = (".csv", ".yaml", ".yml", ".json")
_MOST = 10_000_000  # bytes of a file
_DEEPEST = 4
_WANTED = f"{KEY} says of each class of the run which of the teacher's it is: {{cat: [tabby, lynx], dog: beagle}}"


def read_class_map(given: str | Mapping[str, Any] | Sequence[Any]) -> Given:
    """A map as plain data, from a file where a path is given.

    Args:
        given: a mapping from the run's classes to the teacher's (or the other way), a list with a class of the run, or
            null, for each of the teacher's, or a .csv, .yaml or .json file of either.

    Raises:
        UserError: the file can't be read, or holds neither.
    """
    content: Any = given
    if isinstance(given, str):
        path = Path(given).expanduser()
        if path.suffix.lower() not in _ENDINGS or not path.is_file():
            raise UserError(f"{KEY}={given} is no {', '.join(_ENDINGS)} file here; {_WANTED}, or a file of that")
        try:
            content = _of_file(path)
        except OSError as error:
            raise UserError(f"{KEY}={given} can't be read: {error}") from error
    if isinstance(content, Mapping) and content:
        return {str(key): value for key, value in content.items()}
    if isinstance(content, list | tuple) and content:
        return list(content)
    raise UserError(f"{KEY}={shortened(given)} holds no map; {_WANTED}")


def _of_file(path: Path) -> Any:
    if path.suffix.lower() == ".json":
        return read_json(path, _MOST, mend="mend the file")
    try:
        text = read_bounded(path, _MOST).decode("utf-8-sig")
        return _of_table(path, text) if path.suffix.lower() == ".csv" else _of_yaml(path, text)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} can't be read as text: {error}; write it as UTF-8") from error


def _of_table(path: Path, text: str) -> dict[str, str]:
    """Two columns: a class of the teacher, and the class of the run that it belongs to."""
    rows = [[word.strip() for word in row] for row in csv.reader(StringIO(text)) if any(word.strip() for word in row)]
    if not rows or {word.lower() for word in rows[0]} != {"teacher", "class"}:
        raise UserError(f"{path}: its first line must be teacher,class: a class of the teacher, and the run's for it")
    theirs, own = ([word.lower() for word in rows[0]].index(word) for word in ("teacher", "class"))
    found: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2:
            raise UserError(f"{path}, row {number}: {len(row)} fields, and the header has 2: mend the row")
        if row[theirs] in found:
            raise UserError(f"{path}, row {number}: {shortened(row[theirs])} is there twice: keep one of them")
        found[row[theirs]] = row[own]
    return {name: own for name, own in found.items() if own}


def _of_yaml(path: Path, text: str) -> Any:
    import yaml  # type: ignore[import-untyped]

    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent):  # a few lines of aliases of aliases fill the memory
                raise UserError(f"{path} holds an alias (*name): write what it stands for")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise UserError(f"{path} nests lists more than {_DEEPEST} deep; {_WANTED}")
        return yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path} can't be read as yaml: {str(error).splitlines()[0]}; mend the file") from error


def class_groups(
    given: Given, class_names: Sequence[str], known: Sequence[Sequence[str]], *, who: str
) -> tuple[tuple[int, ...], ...]:
    """Of each class of the run the numbers of the teacher's that it is made of, at least one.

    Args:
        given: as `read_class_map` gives it.
        class_names: the run's.
        known: of each class of the teacher the names that it goes by; none where it has none.
        who: how messages call the teacher.

    Raises:
        UserError: listing what is wrong: classes that nobody has, that are there twice, or that are left out.
    """
    wrong: list[str] = []
    found: list[list[int]] = [[] for _ in class_names]
    theirs = _Theirs(known, who)
    for own, their in _pairs(given, class_names, known, who, wrong):
        place = match([own], class_names).order[0]
        if place is None:
            wrong.append(f"{shortened(own)} is no class of the run{did_you_mean(own, class_names)}")
            continue
        number, reason = theirs.find(their)
        if number is None:
            wrong.append(reason)
        elif number in found[place]:
            wrong.append(f"{shortened(their)} is there twice for {shortened(own)}")
        else:
            found[place].append(number)
    for number in sorted({number for group in found for number in group}):
        if len(owners := [name for name, group in zip(class_names, found, strict=True) if number in group]) > 1:
            wrong.append(f"{theirs.called(number)} is given to {' and '.join(map(shortened, owners))}: to one alone")
    if not wrong and (lacking := [name for name, group in zip(class_names, found, strict=True) if not group]):
        wrong.append(f"no class of the teacher is given to {listed(lacking)}")
    if wrong:
        more = f"; and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        raise UserError(
            f"{KEY}: {'; '.join(wrong[:8])}{more}. {who} knows {theirs.all}; the run's classes are "
            f"{listed(class_names)}"
        )
    return tuple(map(tuple, found))


def _pairs(
    given: Given, class_names: Sequence[str], known: Sequence[Sequence[str]], who: str, wrong: list[str]
) -> list[tuple[str, Any]]:
    """Classes of the run, each with one of the teacher's."""
    if isinstance(given, list):
        if len(given) != len(known):
            wrong.append(f"a list has one entry for each class of the teacher: {len(given)} of {len(known)}")
            return []
        return [(str(own), number) for number, own in enumerate(given) if own is not None]
    values = [value for value in given.values() if value is not None]
    plain = [str(value) for value in values if isinstance(value, str | int)]
    from_theirs = (
        len(plain) == len(values)
        and not any(place is not None for place in match(list(given), class_names).order)
        and any(place is not None for place in match(plain, class_names).order)
    )
    if from_theirs:
        return [(str(own), their) for their, own in given.items() if own is not None]
    pairs = []
    for own, value in given.items():
        for their in value if isinstance(value, list | tuple) else [value]:
            if isinstance(their, str | int) and not isinstance(their, bool):
                pairs.append((own, their))
            else:
                wrong.append(f"{shortened(own)}: {shortened(their)} is neither a name nor a number")
    return pairs


class _Theirs:
    """The teacher's classes, found by name or number."""

    def __init__(self, known: Sequence[Sequence[str]], who: str) -> None:
        self._known, self._who = known, who
        self._by_name: dict[str, set[int]] = {}
        for number, names in enumerate(known):
            for name in names:
                self._by_name.setdefault(name, set()).add(number)
                self._by_name.setdefault(_plain(name), set()).add(number)

    @property
    def all(self) -> str:
        """Its classes in words."""
        named = [names[0] for names in self._known if names]
        return f"{len(self._known)} classes ({listed(named) if named else 'by number, from 0'})"

    def called(self, number: int) -> str:
        """How a message calls one."""
        return shortened(self._known[number][0] if self._known[number] else str(number))

    def find(self, word: Any) -> tuple[int | None, str]:
        """The class that a name, or a number where no name is like it, stands for; else why there is none."""
        text = str(word)
        numbers = self._by_name.get(text) or self._by_name.get(_plain(text)) or set()
        if len(numbers) > 1:
            both = ", ".join(map(str, sorted(numbers)[:4]))
            return None, f"{shortened(text)} is the name of several of the teacher's classes ({both}): give a number"
        if numbers:
            return next(iter(numbers)), ""
        if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < len(self._known):
            return int(text), ""
        return None, f"{shortened(text)} is no class of the teacher{did_you_mean(text, self._by_name)}"


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
