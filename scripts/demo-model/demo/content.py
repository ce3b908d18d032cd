"""Loads the hand-written content (topics, persona, small talk, stories) that the corpus is made of.

Invariant: no alias belongs to two topics, and every pair names known topics; otherwise the corpus would teach
contradictions, so loading fails with the offending entry.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent.parent
# The kinds of reply begin differently, so that the first word already settles which text is to come.
SHORT_OPENING = "In one sentence:"
COMPARE_OPENING = "Side by side:"
KINDS = ("answer", "short", "why", "example", "simple")


@dataclass(frozen=True)
class Topic:
    """One idea of LLM serving with its five written texts."""

    id: str
    name: str
    aliases: tuple[str, ...]
    texts: dict[str, str]

    def text(self, kind: str) -> str:
        """What is said for a kind; `more` is the reason followed by the example."""
        if kind == "more":
            return f"{self.texts['why']} {self.texts['example']}"
        if kind == "short":
            return f"{SHORT_OPENING} {self.texts['short']}"
        return self.texts[kind]


@dataclass(frozen=True)
class Content:
    topics: tuple[Topic, ...]
    pairs: dict[frozenset[str], str]
    persona: list[dict[str, Any]]
    smalltalk: list[dict[str, Any]]
    unknown: dict[str, Any]
    stories: dict[str, Any]
    frames: dict[str, Any]
    systems: list[str]
    wordings: dict[str, Any]

    def topic(self, topic_id: str) -> Topic:
        return next(topic for topic in self.topics if topic.id == topic_id)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def fill_facts(text: str, facts: dict[str, str]) -> str:
    """Replaces {millions} and the like by the measured facts of the shipped model."""
    for key, value in facts.items():
        text = text.replace("{" + key + "}", value)
    return text


def load_topics(facts: dict[str, str]) -> tuple[Topic, ...]:
    topics: list[Topic] = []
    owner: dict[str, str] = {}
    for path in sorted((HOME / "topics").glob("*.json")):
        for raw in read_json(path):
            for alias in raw["aliases"]:
                if owner.setdefault(alias.lower(), raw["id"]) != raw["id"]:
                    raise ValueError(f"alias {alias!r} belongs to both {owner[alias.lower()]} and {raw['id']}")
            texts = {kind: fill_facts(raw[kind], facts) for kind in KINDS}
            topics.append(Topic(raw["id"], raw["name"], tuple(raw["aliases"]), texts))
    return tuple(topics)


def load_content(facts: dict[str, str] | None = None) -> Content:
    """Reads all content files; `facts` default to data/facts.json."""
    data = HOME / "data"
    facts = facts or read_json(data / "facts.json")
    topics = load_topics(facts)
    known = {topic.id for topic in topics}
    pairs: dict[frozenset[str], str] = {}
    for first, second, contrast in read_json(data / "pairs.json"):
        if first not in known or second not in known:
            raise ValueError(f"pairs.json names an unknown topic in ({first}, {second})")
        pairs[frozenset((first, second))] = contrast
    persona = read_json(data / "persona.json")
    for entry in persona:
        entry["reply"] = fill_facts(entry["reply"], facts)
    return Content(
        topics=topics,
        pairs=pairs,
        persona=persona,
        smalltalk=read_json(data / "smalltalk.json"),
        unknown=read_json(data / "unknown.json"),
        stories=read_json(data / "stories.json"),
        frames=read_json(data / "frames.json"),
        systems=read_json(data / "systems.json"),
        wordings=read_json(data / "wordings.json"),
    )
