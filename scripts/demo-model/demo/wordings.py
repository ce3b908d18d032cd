"""Turns compact patterns into one of the many wordings that they stand for.

A pattern is text with alternatives, "(who|what) are you(|, please)?", which may be empty and may be nested, and with
slots, "do you speak {spoken}?", filled from a table whose values may be patterns themselves. A slot that the table lacks
(the `{x}` of a topic frame) stays, for the caller to fill.
"""

import random
import re
from collections.abc import Mapping, Sequence

GROUP = re.compile(r"\(([^()]*)\)")  # innermost only, so that nested groups are resolved from the inside out
SLOT = re.compile(r"\{(\w+)\}")
ARTICLE = re.compile(r"^(the|an|a) (?=.)", re.IGNORECASE)
OPENER_SHARE = 0.25
CLOSER_SHARE = 0.15
RESPELLED_SHARE = 0.2
NOTHING: Mapping[str, Sequence[str]] = {}


def expand(rng: random.Random, pattern: str, slots: Mapping[str, Sequence[str]] = NOTHING) -> str:
    """One wording of the pattern, every alternative and slot value drawn by `rng`."""

    def fill(match: re.Match[str]) -> str:
        values = slots.get(match[1])
        return expand(rng, rng.choice(values), slots) if values else match[0]

    text = pattern
    while GROUP.search(text):
        text = GROUP.sub(lambda match: rng.choice(match[1].split("|")), text)
    # Empty alternatives leave gaps, which nobody types.
    return re.sub(r" +([,.?!])", r"\1", re.sub(r"  +", " ", SLOT.sub(fill, text))).strip()


def framed(rng: random.Random, text: str, openers: Sequence[str], closers: Sequence[str]) -> str:
    """Sometimes an opener before the question and a closer before its final mark; neither changes what is asked."""
    if rng.random() < OPENER_SHARE:
        text = rng.choice(openers) + text
    if rng.random() < CLOSER_SHARE:
        bare = text.rstrip("?.!")
        text = bare + rng.choice(closers) + text[len(bare) :]
    return text


def respelled(rng: random.Random, name: str) -> str:
    """A technical name as people spell it: other case, hyphen or space, or two words written as one."""
    if rng.random() >= RESPELLED_SHARE:
        return name
    article = ARTICLE.match(name)
    head = article[0] if article else ""
    words = re.split(r"[ -]", name[len(head) :])
    capitalized = " ".join(word[:1].upper() + word[1:] for word in words)
    spellings = [" ".join(words).lower(), capitalized, name[len(head) :].upper()]
    if len(words) == 2:  # longer names are phrases, which nobody writes as one word
        spellings += [" ".join(words), "-".join(words), "-".join(words).lower(), "".join(words).lower()]
    return head + rng.choice(spellings)
