"""Makes user texts look typed by people: case, punctuation, typing errors, polite openings; and invents words."""

import random
import re
import string

NEIGHBORS = {
    "a": "sqz", "b": "vn", "c": "xv", "d": "sfe", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk",
    "k": "jl", "l": "k", "m": "n", "n": "mb", "o": "ip", "p": "o", "q": "wa", "r": "et", "s": "ad", "t": "ry",
    "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "xa",
}
OPENINGS = (
    "hi, ", "hello! ", "hey, ", "please ", "ok, ", "so, ", "and ", "well, ", "um, ", "quick question: ", "next: ",
    "one more question: ", "next question: ", "now: ", "then ", "hello, ", "question: ", "i wonder, ", "good. ",
)
ONSETS = ("b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "bl", "br", "ch", "cl",
          "cr", "dr", "fl", "fr", "gl", "gr", "kl", "kn", "pl", "pr", "qu", "sh", "sk", "sl", "sm", "sn", "sp", "st", "str",
          "th", "tr", "tw", "wh", "x", "y", "zw", "")
VOWELS = ("a", "e", "i", "o", "u", "a", "e", "o", "ai", "ee", "oo", "ou", "ea", "y")
CODAS = ("", "", "", "b", "ck", "d", "ff", "g", "l", "ll", "m", "n", "nd", "ng", "nt", "p", "r", "rk", "rt", "s", "sh", "st", "t",
         "x", "zz", "mp", "lt", "ld")
LONE_I = re.compile(r"\bi\b(?!\.)")  # the pronoun, also in "i'm"; content is written with a small one
MIN_TYPO_WORD = 5  # shorter words (GQA, top-k) turn into another term when one letter changes


def typo(rng: random.Random, word: str) -> str:
    """One typing error inside a word: a dropped, doubled, swapped or neighbouring letter."""
    at = rng.randrange(len(word))
    kind = rng.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[: at + 1] + word[at:]
    if kind == 2 and at + 1 < len(word):
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + rng.choice(NEIGHBORS.get(word[at].lower(), "e")) + word[at + 1 :]


def with_typo(rng: random.Random, text: str) -> str:
    """Puts one typing error into a long enough word of the text, if there is one."""
    words = text.split(" ")
    long_words = [i for i, word in enumerate(words) if len(word) >= MIN_TYPO_WORD and word.isalpha()]
    if not long_words:
        return text
    at = rng.choice(long_words)
    words[at] = typo(rng, words[at])
    return " ".join(words)


def as_typed(rng: random.Random, text: str, *, opening: bool = True, exact: bool = False) -> str:
    """A human-looking variant of a user text. `exact` keeps case and spelling, for texts that must be copied."""
    if opening and rng.random() < 0.08:
        text = rng.choice(OPENINGS) + text
    if not exact:
        if rng.random() < 0.16:
            text = with_typo(rng, text)
        if rng.random() < 0.5:
            text = LONE_I.sub("I", text)
        roll = rng.random()
        if roll < 0.30:
            text = text.lower()
        elif roll < 0.33:
            text = text.upper()
    if rng.random() < 0.45:
        text = text[:1].upper() + text[1:]
    roll = rng.random()
    if roll < 0.35:
        text = text.rstrip("?.!")
    elif roll < 0.38 and text[-1:] in "?!":
        text += text[-1]
    elif roll < 0.43 and text[-1:].isalnum():
        text += rng.choice((".", "?", "!", " please", " please", "..."))
    return text or "?"


def invented_word(rng: random.Random) -> str:
    """A pronounceable word of two or three syllables that (nearly always) does not exist."""
    parts = []
    for _ in range(rng.choice((2, 2, 2, 3))):
        parts.append(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS))
    return "".join(parts)


def invented_acronym(rng: random.Random) -> str:
    word = "".join(rng.choice(string.ascii_uppercase) for _ in range(rng.choice((3, 3, 4))))
    return word if rng.random() < 0.6 else word.lower()


def key_mash(rng: random.Random) -> str:
    """Nonsense as from a cat on the keyboard."""
    rows = ("asdfghjkl", "qwertyuiop", "zxcvbnm", "asdf", "jkl", "123")
    row = rng.choice(rows)
    return "".join(rng.choice(row) for _ in range(rng.randint(3, 12)))
