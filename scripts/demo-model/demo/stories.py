"""Grows little stories around whatever the user names.

The subject appears in three forms: as the user writes it (`asked`), as the story introduces it (`intro`) and as the
story refers to it afterwards (`ref`). The sentences never begin with the subject and use no pronoun for it, so the
network only has to copy the words as they are, whether it knows them or not.
"""

import random
import re
from dataclasses import dataclass
from typing import Any

from .noise import invented_word


@dataclass(frozen=True)
class Subject:
    asked: str
    intro: str
    ref: str
    plural: bool = False


def article(noun_phrase: str) -> str:
    return ("an " if noun_phrase[:1].lower() in "aeiou" else "a ") + noun_phrase


def pick_noun(rng: random.Random, words: dict[str, Any]) -> str:
    return invented_word(rng) if rng.random() < 0.35 else rng.choice(words["nouns"])


def pick_name(rng: random.Random, words: dict[str, Any]) -> str:
    name = invented_word(rng).capitalize() if rng.random() < 0.5 else rng.choice(words["names"])
    return name.lower() if rng.random() < 0.3 else name


def described(rng: random.Random, words: dict[str, Any], noun: str) -> str:
    """The noun with none, one or two adjectives, now and then an invented one."""
    roll = rng.random()
    if roll < 0.3:
        return noun
    adjective = invented_word(rng) if rng.random() < 0.1 else rng.choice(words["adjectives"])
    if roll < 0.85:
        return f"{adjective} {noun}"
    return f"{rng.choice(words['adjectives'])} {adjective} {noun}"


def single(rng: random.Random, words: dict[str, Any]) -> Subject:
    phrase = described(rng, words, pick_noun(rng, words))
    intro = article(phrase)
    asked = intro if rng.random() < 0.9 else phrase
    if rng.random() < 0.06:
        return Subject(f"the {phrase}", f"the {phrase}", f"the {phrase}")
    if rng.random() < 0.08:
        return Subject(f"my {phrase}", f"your {phrase}", f"your {phrase}")
    return Subject(asked, intro, f"the {phrase}")


def with_tail(rng: random.Random, words: dict[str, Any]) -> Subject:
    phrase = described(rng, words, pick_noun(rng, words))
    intro = f"{article(phrase)} {rng.choice(words['tails'])}"
    return Subject(intro, intro, f"the {phrase}")


def named(rng: random.Random, words: dict[str, Any]) -> Subject:
    name = pick_name(rng, words)
    roll = rng.random()
    if roll < 0.5:
        return Subject(name, name, name)
    phrase = described(rng, words, pick_noun(rng, words))
    if roll < 0.75:
        verb = rng.choice(("named", "called"))
        return Subject(f"{article(phrase)} {verb} {name}", f"{article(phrase)} {verb} {name}", name)
    if roll < 0.9:
        return Subject(f"{name} the {phrase}", f"{name} the {phrase}", name)
    return Subject(f"my {phrase} {name}", f"your {phrase} {name}", name)


def several(rng: random.Random, words: dict[str, Any]) -> Subject:
    roll = rng.random()
    if roll < 0.45:
        noun = rng.choice(words["plurals"]) if rng.random() < 0.7 else invented_word(rng) + "s"
        phrase = described(rng, words, noun)
        if rng.random() < 0.5:
            return Subject(phrase, phrase, f"the {phrase}", True)
        number = rng.choice(words["numbers"])
        return Subject(f"{number} {phrase}", f"{number} {phrase}", f"the {phrase}", True)
    if roll < 0.8:
        first, second = (described(rng, words, pick_noun(rng, words)) for _ in range(2))
        both = f"{article(first)} and {article(second)}"
        return Subject(both, both, f"the {first} and the {second}", True)
    pair = f"{pick_name(rng, words)} and {pick_name(rng, words)}"
    return Subject(pair, pair, pair, True)


def bare(rng: random.Random, words: dict[str, Any]) -> Subject:
    word = invented_word(rng) if rng.random() < 0.3 else rng.choice(words["bare"])
    if word.startswith(("a ", "two ")):
        rest = word.split(" ", 1)[1]
        return Subject(word, word, f"the {rest}", word.startswith("two "))
    return Subject(word, word, word)


def pick_subject(rng: random.Random, words: dict[str, Any]) -> Subject:
    maker = rng.choices((single, with_tail, named, several, bare), (46, 10, 22, 14, 8))[0]
    return maker(rng, words)


def fill(rng: random.Random, words: dict[str, Any], subject: Subject) -> dict[str, str]:
    """One choice for every slot, fixed for the whole story so that its parts agree."""
    slots = {key: rng.choice(words[key]) for key in
             ("place", "day", "thing", "helper", "fear", "wish", "food", "search", "hidden", "weather")}
    was = "were" if subject.plural else "was"
    return {**slots, "i": subject.intro, "r": subject.ref, "was": was}


def full_story(rng: random.Random, words: dict[str, Any], subject: Subject) -> tuple[str, dict[str, str]]:
    """A story of six sentences and the slots it used, so that a sequel can go on with them."""
    slots = fill(rng, words, subject)
    plot = rng.choice(words["plots"])
    sentences = [rng.choice(words["openings"])] + [rng.choice(beat) for beat in plot["beats"]]
    text = " ".join(sentences).format(**slots)
    for key in ("helper", "thing"):
        text = known_later(text, slots[key])
    return text, {**slots, "helper": definite(slots["helper"]), "thing": definite(slots["thing"])}


def definite(phrase: str) -> str:
    return re.sub(r"^an? ", "the ", phrase)


def known_later(text: str, phrase: str) -> str:
    """After its first mention, "an old owl" is "the old owl"."""
    head, found, tail = text.partition(phrase)
    return head + found + tail.replace(phrase, definite(phrase)) if found else text


def sequel(rng: random.Random, words: dict[str, Any], slots: dict[str, str]) -> str:
    return " ".join(rng.choice(beat) for beat in words["sequel"]).format(**slots)


def short_story(rng: random.Random, words: dict[str, Any], slots: dict[str, str]) -> str:
    return rng.choice(words["short"]).format(**slots)
