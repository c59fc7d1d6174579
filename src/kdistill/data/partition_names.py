"""Which names stand for a partition: train, Training, valid, dev, test_set, val2017, seg_train ..."""

import re

PARTITIONS = ("train", "val", "test")
_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
# Words beside it that say no more than 'here are the pictures'; a number is a year or a place in a list.
_FILLERS = ("set", "data", "dataset", "image", "img", "picture", "photo", "file", "folder", "split", "partition", "seg")
_FILLER = f"(?:{'|'.join(sorted(_FILLERS, key=len, reverse=True))})s?"
_WORD = re.compile(f"({'|'.join(sorted(_WORDS, key=len, reverse=True))})s?(?:{_FILLER})?")
_UNLABELLED = re.compile(r"un(label+ed|annotated|supervised)")


def partition_of(name: str) -> str | None:
    """The partition that a name surely stands for, in any case and form: train, val or test; None if none.

    >>> [partition_of(name) for name in ("Training", "valid", "DEV", "test_images", "val2017", "cat", "train_station")]
    ['train', 'val', 'val', 'test', 'val', None, None]
    """
    found, others = _parted(name)
    return found[0] if len(set(found)) == 1 and not others else None


def only_repeats(name: str, partition: str) -> bool:
    """Whether a folder inside a partition's says no more than that: train/train/, train/images/."""
    found, others = _parted(name)
    return set(found) <= {partition} and not others and not name.isdigit()


def like_partition(name: str) -> bool:
    """Whether a word of the name, but not the whole name, stands for a partition: `xray_train`, `train_station`."""
    return bool(_parted(name)[0]) and partition_of(name) is None


def unlabelled(name: str) -> bool:
    """Whether a folder's name tells that its images have no labels."""
    return _UNLABELLED.match(re.sub(r"[^a-z]", "", name.casefold())) is not None


def _parted(name: str) -> tuple[list[str], list[str]]:
    """The partitions that the words of a name stand for, and its other words that mean something."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
    found, others = [], []
    for word in map(str.casefold, words):
        if match := _WORD.fullmatch(word):
            found.append(_WORDS[match[1]])
        elif not re.fullmatch(_FILLER, word):
            others.append(word)
    return found, others
