"""Scores a GGUF file on the evaluation set with the numpy engine (greedy), and prints a table."""

import argparse
import json
from collections import defaultdict
from pathlib import Path

from tqdm import tqdm

from demo.chatml import render
from demo.content import HOME, load_content
from demo.engine import Engine
from demo.evalset import load_cases
from demo.scoring import holds, loops, references

MAX_TOKENS = 300
BARS = {"topic": 0.90, "greeting": 0.95, "identity": 0.95}  # the quality bar of the shipped model


def run_case(engine: Engine, case: dict, candidates, shorts) -> list[dict]:
    """Plays one conversation with the model's own replies and judges every turn."""
    messages = [{"role": "system", "content": case["system"]}] if case.get("system") else []
    results = []
    for turn in case["turns"]:
        messages.append({"role": "user", "content": turn["user"]})
        reply, ended = engine.generate(render(messages, add_generation_prompt=True), MAX_TOKENS)
        messages.append({"role": "assistant", "content": reply})
        results.append({"category": case["category"], "user": turn["user"], "reply": reply, "ended": ended,
                        "looped": loops(reply), "right": ended and holds(reply, turn["expect"], candidates, shorts)})
    return results


def table(results: list[dict]) -> dict[str, dict[str, int]]:
    scores: dict[str, dict[str, int]] = defaultdict(lambda: {"right": 0, "total": 0, "unended": 0, "looped": 0})
    for result in results:
        for category in (result["category"], "all"):
            row = scores[category]
            row["right"] += result["right"]
            row["total"] += 1
            row["unended"] += not result["ended"]
            row["looped"] += result["looped"]
    return dict(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=HOME.parent.parent / "public" / "models" / "demo.gguf", help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="write every reply and the scores here")
    parser.add_argument("--show-wrong", action="store_true", help="print the replies that were judged wrong")
    args = parser.parse_args()
    content, engine = load_content(), Engine(args.model)
    candidates, shorts = references(content), {t.id: t.texts["short"] for t in content.topics}
    results = [r for case in tqdm(load_cases(), desc="evaluate") for r in run_case(engine, case, candidates, shorts)]
    scores = table(results)
    for category, row in scores.items():
        print(f"{category:12} {row['right']:4} / {row['total']:4} = {row['right'] / row['total']:6.1%}"
              f"   broken off {row['unended']}   looped {row['looped']}")
    if args.show_wrong:
        for result in results:
            if not result["right"]:
                print(f"\n[{result['category']}] {result['user']}\n -> {result['reply']}")
    if args.json:
        args.json.write_text(json.dumps({"scores": scores, "results": results}, indent=1) + "\n", encoding="utf-8")
    below = [c for c, bar in BARS.items() if scores[c]["right"] < bar * scores[c]["total"]]
    if below or scores["all"]["unended"] or scores["all"]["looped"]:
        raise SystemExit(f"below the bar: {', '.join(below) or 'broken off or looped replies'}")


if __name__ == "__main__":
    main()
