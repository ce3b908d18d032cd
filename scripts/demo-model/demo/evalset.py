"""The evaluation set: conversations kept out of training, read from eval/*.json."""

from typing import Any

from .content import HOME, read_json


def load_cases() -> list[dict[str, Any]]:
    """All cases; each has `category`, `turns` (user texts with their `expect`) and perhaps `system`."""
    cases: list[dict[str, Any]] = []
    for path in sorted((HOME / "eval").glob("*.json")):
        for case in read_json(path):
            cases.append({**case, "file": path.name})
    return cases


def held_out_texts() -> list[str]:
    """User texts that must not occur in the corpus; a case marked `common` uses everyday wording on purpose."""
    return [turn["user"] for case in load_cases() for turn in case["turns"] if not turn.get("common")]
