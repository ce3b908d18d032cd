"""Judges replies. The same rules, word for word, are in evaluate.mjs, which runs against a server.

A reply is on a topic when, among all texts written for all topics, the one it overlaps most with belongs to that topic,
and the overlap (F1 over word pairs) is at least MIN_OVERLAP: so it must be the right text, and a whole one.
"""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from .content import KINDS, Content

MIN_OVERLAP = 0.6
NUM_LOOP_WORDS = 8  # the same run of eight words three times in one reply is a loop
MAX_LOOP_REPEATS = 2


@dataclass(frozen=True)
class Reference:
    owner: str
    kind: str
    pairs: Counter[tuple[str, str]]


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def word_pairs(text: str) -> Counter[tuple[str, str]]:
    words = words_of(text)
    return Counter(zip(words, words[1:]))


def overlap(first: Counter[tuple[str, str]], second: Counter[tuple[str, str]]) -> float:
    """F1 of two bags of word pairs, 0..1."""
    total = sum(first.values()) + sum(second.values())
    return 2 * sum((first & second).values()) / total if total else 0.0


def references(content: Content) -> list[Reference]:
    """Every text the model may be expected to say, with its owner."""
    found = [Reference(t.id, kind, word_pairs(t.text(kind))) for t in content.topics for kind in (*KINDS, "more")]
    for entry in [*content.persona, *content.smalltalk]:
        found.append(Reference(entry["id"], "reply", word_pairs(entry["reply"])))
    unknown = content.unknown
    for category in unknown["categories"]:
        found.append(Reference("unknown", "reply", word_pairs(f"{category['open']} {unknown['tail']}")))
    found.append(Reference("unknown", "reply", word_pairs(unknown["nonsense"]["reply"])))
    found.append(Reference("unknown-why", "reply", word_pairs(unknown["followReplies"]["why"])))
    found.append(Reference("unknown", "reply", word_pairs(unknown["followReplies"]["again"])))
    found.append(Reference("no-context", "reply", word_pairs(unknown["noContext"]["reply"])))
    return found


def best_reference(reply: str, candidates: list[Reference]) -> tuple[Reference, float]:
    pairs = word_pairs(reply)
    scored = [(overlap(pairs, candidate.pairs), index) for index, candidate in enumerate(candidates)]
    score, index = max(scored, key=lambda entry: (entry[0], -entry[1]))
    return candidates[index], score


def loops(reply: str) -> bool:
    words = words_of(reply)
    runs = Counter(tuple(words[i : i + NUM_LOOP_WORDS]) for i in range(len(words) - NUM_LOOP_WORDS + 1))
    return any(count > MAX_LOOP_REPEATS for count in runs.values())


def holds(reply: str, expect: dict[str, Any], candidates: list[Reference], shorts: dict[str, str]) -> bool:
    """Whether a reply is what was expected."""
    if "story" in expect:
        named = " ".join(words_of(expect["story"]))
        told = " ".join(words_of(reply))
        head = " ".join(words_of(reply.split(".")[0]))
        return told.count(named) >= 2 and named in head
    if "compare" in expect:
        pairs = word_pairs(reply)
        return all(sum((word_pairs(shorts[t]) & pairs).values()) >= 0.7 * sum(word_pairs(shorts[t]).values())
                   for t in expect["compare"])
    best, score = best_reference(reply, candidates)
    if score < MIN_OVERLAP:
        return False
    if "topic" in expect:
        return best.owner == expect["topic"] and expect.get("kind", best.kind) == best.kind
    return best.owner == ("unknown" if expect.get("unknown") else expect["reply"])
