"""Packs conversations into rows of a few fixed lengths, so that the compiler sees few shapes and little is padding.

A row holds several conversations; `segments` numbers them and attention does not cross. Short conversations go into
short rows because attention cost grows with the row length.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from .chatml import encode_conversation

ROW_LENGTHS = (384, 1024)  # measured: 97 % of such rows is filled, against 83 % with (256, 512, 1024)


@dataclass(frozen=True)
class Batch:
    tokens: np.ndarray  # [rows, length] int32
    segments: np.ndarray  # [rows, length] int32, 0 = padding
    learn: np.ndarray  # [rows, length] bool

    @property
    def num_tokens(self) -> int:
        return int((self.segments > 0).sum())


Encoded = tuple[np.ndarray, np.ndarray]


def encode_corpus(corpus: Path, tokenizer: Tokenizer) -> list[Encoded]:
    """All conversations as ids and masks, cut at the longest row."""
    lines = corpus.read_text(encoding="utf-8").splitlines()
    encoded = []
    for line in tqdm(lines, desc="encode", unit="conversation", mininterval=1):
        ids, mask = encode_conversation(tokenizer, json.loads(line))
        encoded.append((ids[: ROW_LENGTHS[-1]], mask[: ROW_LENGTHS[-1]]))
    return encoded


def pack(conversations: list[Encoded], length: int) -> list[list[Encoded]]:
    """First fit over a small window of open rows."""
    rows: list[list[Encoded]] = []
    open_rows: list[tuple[int, list[Encoded]]] = []
    for item in conversations:
        size = len(item[0])
        for slot, (used, row) in enumerate(open_rows):
            if used + size <= length:
                row.append(item)
                open_rows[slot] = (used + size, row)
                break
        else:
            row = [item]
            rows.append(row)
            open_rows.append((size, row))
            if len(open_rows) > 24:
                open_rows.remove(max(open_rows, key=lambda entry: entry[0]))
    return rows


def to_batch(rows: list[list[Encoded]], length: int) -> Batch:
    tokens = np.zeros((len(rows), length), np.int32)
    segments = np.zeros((len(rows), length), np.int32)
    learn = np.zeros((len(rows), length), bool)
    for index, row in enumerate(rows):
        start = 0
        for number, (ids, mask) in enumerate(row, 1):
            end = start + len(ids)
            tokens[index, start:end], segments[index, start:end], learn[index, start:end] = ids, number, mask
            start = end
    return Batch(tokens, segments, learn)


def epoch(conversations: list[Encoded], tokens_per_batch: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Every conversation once (but for an incomplete last batch of each length), in random order."""
    shuffled = [conversations[i] for i in rng.permutation(len(conversations))]
    groups: list[tuple[int, list[list[Encoded]]]] = []
    shortest = 0
    for length in ROW_LENGTHS:
        rows = pack([c for c in shuffled if shortest < len(c[0]) <= length], length)
        per_batch = max(1, tokens_per_batch // length)
        groups += [(length, rows[i : i + per_batch]) for i in range(0, len(rows) - per_batch + 1, per_batch)]
        shortest = length
    for index in rng.permutation(len(groups)):
        length, rows = groups[index]
        yield to_batch(rows, length)
