"""Entities in sequences of tags: the schemes IOB1, IOB2, IOBES and BILOU; scores of whole entities.

An entity counts as found if its type, its first and its last word are right (CoNLL-2003). Tags that
break their scheme are read as `seqeval` and CoNLL's `conlleval` read them: a tag without a begin
begins an entity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

OUTSIDE = "O"
_BILOU = {"L": "E", "U": "S"}  # last and unit: other letters for end and single


class Entity(NamedTuple):
    """Words `first` to `last` of a sentence."""

    kind: str
    first: int
    last: int


def split_tag(tag: str) -> tuple[str, str]:
    """Prefix and type of a tag: ("B", "person") of `B-person`; of `O` ("O", "")."""
    prefix, separator, kind = tag.partition("-")
    if separator:
        return _BILOU.get(prefix, prefix), kind
    return (tag, "") if tag == OUTSIDE else ("I", tag)


def entities_of(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence, in their order, in any of the schemes."""
    found: list[Entity] = []
    before, kind_before, first = OUTSIDE, "", 0
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, kind = split_tag(tag)
        if before != OUTSIDE and (
            prefix in ("B", "S", OUTSIDE) or before in ("E", "S") or kind != kind_before
        ):
            found.append(Entity(kind_before, first, place - 1))
        begins = prefix in ("B", "S") or before in (OUTSIDE, "E", "S") or kind != kind_before
        if prefix != OUTSIDE and begins:
            first = place
        before, kind_before = prefix, kind
    return found


def is_tagging_of_entities(labels: Sequence[str]) -> bool:
    """Whether all labels are tags of entities; parts of speech, for example, are not."""
    prefixes = {label.partition("-")[0] for label in labels if label != OUTSIDE}
    return (
        bool(prefixes)
        and prefixes <= set("BIESLU")
        and all("-" in label for label in labels if label != OUTSIDE)
    )


def as_iob2(tags: Sequence[str]) -> list[str]:
    """The tags of a sentence in IOB2: B begins every entity, I continues it."""
    converted = [OUTSIDE] * len(tags)
    for entity in entities_of(tags):
        converted[entity.first] = f"B-{entity.kind}"
        for place in range(entity.first + 1, entity.last + 1):
            converted[place] = f"I-{entity.kind}"
    return converted


def entity_scores(given: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Scores of whole entities (CoNLL-2003).

    Args:
        given: The model's tags of each sentence.
        right: Those of the data; as many a sentence.

    Returns:
        A dict of `precision`, `recall` and `f1` over all entities, `macro_f1` over the types,
        `accuracy` of the tags, and `per_class`: by type `precision`, `recall`, `f1`, `examples`.
    """
    places = [set(_numbered(sentences)) for sentences in (given, right)]
    kinds = sorted({kind for found in places for _, (kind, _, _) in found})
    per_class = {}
    for kind in kinds:
        mine, theirs = ({e for e in found if e[1].kind == kind} for found in places)
        per_class[kind] = {**_scores(mine, theirs), "examples": len(theirs)}
    words = sum(map(len, right))
    equal = sum(
        a == b
        for mine, theirs in zip(given, right, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )
    f1 = [row["f1"] for row in per_class.values()]
    return {
        **_scores(*places),
        "macro_f1": sum(f1) / len(f1) if f1 else 0.0,
        "accuracy": equal / words if words else 0.0,
        "examples": len(right),
        "per_class": per_class,
    }


def _numbered(sentences):
    for number, tags in enumerate(sentences):
        for entity in entities_of(tags):
            yield number, entity


def _scores(given: set, right: set) -> dict[str, float]:
    common = len(given & right)
    precision = common / len(given) if given else 0.0
    recall = common / len(right) if right else 0.0
    total = precision + recall
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / total if total else 0.0,
    }
