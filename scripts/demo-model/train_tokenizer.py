"""Trains the byte-level BPE tokenizer on the corpus.

The split rule is the classic GPT-2 one (`tokenizer.ggml.pre` = "gpt-2"), so GGUF readers know it by name. All 256 byte
symbols are in the vocabulary, so no text is ever unknown.
"""

import argparse
import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from demo.chatml import SPECIAL_TOKENS
from demo.content import HOME

VOCAB_SIZE = 2048  # a multiple of 64, so the (tied) head divides evenly for every kernel


def texts(corpus: Path, max_conversations: int):
    with corpus.open(encoding="utf-8") as file:
        for index, line in enumerate(file):
            if index >= max_conversations:
                return
            record = json.loads(line)
            if record["system"]:
                yield f"system\n{record['system']}"
            for turn in record["turns"]:
                yield f"user\n{turn['user']}"
                yield f"assistant\n{turn['assistant']}"


def train(corpus: Path, max_conversations: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=True,
    )
    tokenizer.train_from_iterator(texts(corpus, max_conversations), trainer)
    if tokenizer.get_vocab_size() != VOCAB_SIZE:
        raise SystemExit(f"vocabulary has {tokenizer.get_vocab_size()} entries instead of {VOCAB_SIZE}; use more text")
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=HOME / "build" / "corpus.jsonl", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=HOME / "build" / "tokenizer.json", help="default: %(default)s")
    parser.add_argument("--max-conversations", type=int, default=20_000, help="how many to read (default: %(default)s)")
    args = parser.parse_args()
    tokenizer = train(args.corpus, args.max_conversations)
    tokenizer.save(str(args.out))
    print(f"{tokenizer.get_vocab_size()} tokens: {args.out}")


if __name__ == "__main__":
    main()
