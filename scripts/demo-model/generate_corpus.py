"""Writes the training corpus: conversations as JSON lines, the same for the same seed and content."""

import argparse
import json
import random
from pathlib import Path

from tqdm import tqdm

from demo.content import HOME, load_content
from demo.conversation import Conversation, Planner, normalized
from demo.evalset import held_out_texts

LONG_SHARE = 0.012  # conversations that fill most of the context window, so that long chats are trained too


def pick_num_turns(rng: random.Random) -> int:
    if rng.random() < LONG_SHARE:
        return rng.randint(8, 14)
    return rng.choices((1, 2, 3, 4, 5, 6), (34, 34, 20, 8, 3, 1))[0]


def as_record(conversation: Conversation) -> dict[str, object]:
    return {
        "system": conversation.system,
        "turns": [{"user": t.user, "assistant": t.assistant, "label": t.label} for t in conversation.turns],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HOME / "build" / "corpus.jsonl", help="where to write (default: %(default)s)")
    parser.add_argument("--num-conversations", type=int, default=50_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=20260, help="seed of everything drawn (default: %(default)s)")
    args = parser.parse_args()

    banned = frozenset(normalized(text) for text in held_out_texts())
    planner = Planner(load_content(), banned)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w", encoding="utf-8") as file:
        for index in tqdm(range(args.num_conversations), unit="conversation", desc="corpus"):
            rng = random.Random(f"{args.seed}:{index}")
            conversation = planner.conversation(rng, pick_num_turns(rng))
            for turn in conversation.turns:
                assert normalized(turn.user) not in banned, f"evaluation text in the corpus: {turn.user!r}"
            file.write(json.dumps(as_record(conversation)) + "\n")
    print(f"{args.num_conversations} conversations, {args.out.stat().st_size / 1e6:.1f} MB: {args.out}")


if __name__ == "__main__":
    main()
