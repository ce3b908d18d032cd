"""Plans whole conversations: what the user says next, what it refers to, and what the model should answer.

A conversation carries a *focus* (a topic, a pair of topics, a story, the model itself, or something it cannot do), and
follow-ups such as "why?" are answered from it. Everything is drawn from one injected random generator, so a
conversation is a pure function of its seed and the content.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .content import COMPARE_OPENING, Content, Topic
from .noise import as_typed, invented_acronym, invented_word, key_mash
from .stories import Subject, article, described, full_story, pick_noun, pick_subject, sequel, short_story
from .wordings import expand, framed, respelled

NO_SYSTEM_SHARE = 0.5
PATTERN_SHARE = 0.5  # of persona and small talk; the rest are the listed, most usual wordings
STATEMENT_SHARE = 0.55  # of the composed topic questions: whole patterns instead of opener + core + closer
SAME_FRAME_SHARE = 0.4  # of the unknown things, asked for with the very frames of the topics


@dataclass(frozen=True)
class Turn:
    user: str
    assistant: str
    label: str


@dataclass(frozen=True)
class Conversation:
    system: str | None
    turns: tuple[Turn, ...]


@dataclass
class Focus:
    """What a follow-up would refer to. Exactly the fields of its `kind` are set."""

    kind: str = "none"
    topic: Topic | None = None
    pair: tuple[Topic, Topic] | None = None
    subject: Subject | None = None
    slots: dict[str, str] = field(default_factory=dict)
    last_reply: str = ""


class Planner:
    """Draws conversations from the content; `banned` user texts (the evaluation set) never come out of it."""

    def __init__(self, content: Content, banned: frozenset[str]) -> None:
        self.content = content
        self.banned = banned
        self.owner = {alias.lower(): topic.id for topic in content.topics for alias in topic.aliases}

    def conversation(self, rng: random.Random, num_turns: int) -> Conversation:
        focus = Focus()
        turns: list[Turn] = []
        while len(turns) < num_turns:
            turn = self.next_turn(rng, focus)
            if normalized(turn.user) in self.banned:
                return self.conversation(rng, num_turns)
            focus.last_reply = turn.assistant
            turns.append(turn)
        system = None if rng.random() < NO_SYSTEM_SHARE else rng.choice(self.content.systems)
        return Conversation(system, tuple(turns))

    def next_turn(self, rng: random.Random, focus: Focus) -> Turn:
        follow = {"topic": 0.62, "pair": 0.25, "story": 0.5, "unknown": 0.3, "persona": 0.15, "none": 0.04}[focus.kind]
        if rng.random() < follow:
            return getattr(self, f"follow_{focus.kind}")(rng, focus)
        kinds = ("topic", "compare", "story", "persona", "smalltalk", "unknown", "nonsense", "echo")
        kind = rng.choices(kinds, (36, 8, 13, 24, 14, 16, 1, 2))[0]
        return getattr(self, f"new_{kind}")(rng, focus)

    # New subjects -----------------------------------------------------------------------------------------------

    def new_topic(self, rng: random.Random, focus: Focus) -> Turn:
        topic = rng.choice(self.content.topics)
        kind = rng.choices(("answer", "why", "example", "simple", "short", "more"), (62, 9, 9, 9, 9, 2))[0]
        set_focus(focus, "topic", topic=topic)
        user = as_typed(rng, self.topic_frame(rng, kind).replace("{x}", self.alias(rng, topic)))
        return Turn(user, topic.text(kind), f"topic/{topic.id}/{kind}")

    def alias(self, rng: random.Random, topic: Topic) -> str:
        """A name of the topic as typed, unless that spelling is a name of another topic."""
        alias = rng.choice(topic.aliases)
        typed = respelled(rng, alias)
        return alias if self.owner.get(typed.lower(), topic.id) != topic.id else typed

    def topic_frame(self, rng: random.Random, kind: str) -> str:
        if kind == "answer" and rng.random() < 0.6:
            return self.free_wording(rng)
        return expand(rng, rng.choice(self.content.frames["topic"][kind]))

    def free_wording(self, rng: random.Random) -> str:
        """A whole pattern, or one composed of opener, core and closer; the name stands in at least one part."""
        parts = self.content.frames["wordings"]
        if rng.random() < STATEMENT_SHARE:
            return expand(rng, rng.choice(parts["whole"]) + "(?|?|.|)")
        opener = rng.choice(parts["openers"]) if rng.random() < 0.5 else ""
        core = rng.choice([core for core in parts["cores"] if "{x}" in core + opener])
        closer = rng.choice(parts["closers"]) if rng.random() < 0.3 else ""
        return expand(rng, f"{opener}{core}{closer}(?|?|.|)")

    def new_echo(self, rng: random.Random, focus: Focus) -> Turn:
        """Repeating words: of little use, but it teaches to copy what was never seen, which stories need."""
        words = self.content.stories
        items = [pick_subject(rng, words).asked if rng.random() < 0.5 else invented_word(rng)
                 for _ in range(rng.randint(1, 4))]
        text = " ".join(items)
        set_focus(focus, "none")
        ask = rng.choice(self.content.frames["echo"]).replace("{x}", text)
        return Turn(ask[:1].upper() + ask[1:] if rng.random() < 0.4 else ask, text, "echo")

    def new_compare(self, rng: random.Random, focus: Focus) -> Turn:
        if rng.random() < 0.7:
            ids = list(rng.choice(sorted(sorted(pair) for pair in self.content.pairs)))
            rng.shuffle(ids)
            first, second = (self.content.topic(topic_id) for topic_id in ids)
        else:
            first, second = rng.sample(self.content.topics, 2)
        frame = rng.choice(self.content.frames["compare"])
        user = as_typed(rng, frame.format(x=self.alias(rng, first), y=self.alias(rng, second)))
        return self.comparison(focus, user, first, second)

    def comparison(self, focus: Focus, user: str, first: Topic, second: Topic) -> Turn:
        parts = [COMPARE_OPENING, first.texts["short"], second.texts["short"]]
        contrast = self.content.pairs.get(frozenset((first.id, second.id)))
        if contrast:
            parts.append(contrast)
        set_focus(focus, "pair", pair=(first, second))
        return Turn(user, " ".join(parts), f"compare/{first.id}/{second.id}")

    def new_story(self, rng: random.Random, focus: Focus) -> Turn:
        words = self.content.stories
        if rng.random() < 0.1:
            noun = described(rng, words, rng.choice(words["nouns"]))
            subject = Subject("", article(noun), f"the {noun}")
            user = as_typed(rng, rng.choice(self.content.frames["storyAny"]))
            return self.story(rng, focus, user, subject)
        subject = pick_subject(rng, words)
        frame = rng.choice(self.content.frames["story"])
        return self.story(rng, focus, self.story_request(rng, frame, subject), subject)

    def story_request(self, rng: random.Random, frame: str, subject: Subject) -> str:
        """Noise goes into the frame only: the named thing must stay as typed, for it is copied."""
        head, tail = frame.split("{x}")
        head = as_typed(rng, head.rstrip()) + " " if head.strip() else head
        tail = tail if rng.random() < 0.5 else tail.rstrip("?")
        return head + subject.asked + tail

    def story(self, rng: random.Random, focus: Focus, user: str, subject: Subject) -> Turn:
        text, slots = full_story(rng, self.content.stories, subject)
        set_focus(focus, "story", subject=subject, slots=slots)
        return Turn(user, text, "story/new")

    def new_persona(self, rng: random.Random, focus: Focus) -> Turn:
        entry = self.weighted(rng, self.content.persona, self.content.wordings["persona"])
        set_focus(focus, "persona")
        return Turn(as_typed(rng, self.persona_wording(rng, entry)), entry["reply"], f"persona/{entry['id']}")

    def new_smalltalk(self, rng: random.Random, focus: Focus) -> Turn:
        """Small talk leaves the focus alone: after "thanks", a "why?" still means the topic before."""
        patterns = self.content.wordings["smalltalk"]
        entry = self.weighted(rng, self.content.smalltalk, patterns)
        ask = self.wording(rng, entry["asks"], patterns[entry["id"]]["patterns"])
        return Turn(as_typed(rng, ask, opening=False), entry["reply"], f"smalltalk/{entry['id']}")

    def weighted(self, rng: random.Random, entries: list[dict[str, Any]], table: Mapping[str, Any]) -> dict[str, Any]:
        """An entry, those that people ask for in most ways most often."""
        return rng.choices(entries, [table[entry["id"]]["weight"] for entry in entries])[0]

    def persona_wording(self, rng: random.Random, entry: Mapping[str, Any]) -> str:
        wordings = self.content.wordings
        ask = self.wording(rng, entry["asks"], wordings["persona"][entry["id"]]["patterns"])
        return framed(rng, ask, wordings["openers"], wordings["closers"])

    def wording(self, rng: random.Random, asks: Sequence[str], patterns: Sequence[str]) -> str:
        if rng.random() < PATTERN_SHARE:
            return expand(rng, rng.choice(patterns), self.content.wordings["slots"])
        return rng.choice(asks)

    def new_unknown(self, rng: random.Random, focus: Focus) -> Turn:
        unknown = self.content.unknown
        entry = rng.choices(unknown["categories"], [9 if c["id"] == "fact" else 1 for c in unknown["categories"]])[0]
        ask = expand(rng, rng.choice(entry["asks"]))
        if entry["id"] == "fact" and rng.random() < SAME_FRAME_SHARE:
            # Otherwise a frame heard with topics only would say "topic", whatever is named in it.
            kind = rng.choices(("answer", "why", "example", "simple", "short"), (8, 1, 1, 1, 1))[0]
            ask = self.topic_frame(rng, kind).replace("{x}", self.unknown_thing(rng))
        while "{thing}" in ask:
            ask = ask.replace("{thing}", self.unknown_thing(rng), 1)
        ask = ask.replace("{place}", rng.choice(unknown["places"])).replace("{person}", self.person(rng))
        ask = ask.replace("{lang}", rng.choice(unknown["langs"]))
        ask = ask.replace("{n}", str(rng.randint(0, 999))).replace("{m}", str(rng.randint(0, 99)))
        set_focus(focus, "unknown")
        return Turn(as_typed(rng, ask), f"{entry['open']} {unknown['tail']}", f"unknown/{entry['id']}")

    def unknown_thing(self, rng: random.Random) -> str:
        """A thing that is no topic; chance would now and then draw "a token"."""
        thing = self.any_thing(rng)
        return thing if thing.lower() not in self.owner else "a volcano"

    def any_thing(self, rng: random.Random) -> str:
        roll = rng.random()
        if roll < 0.5:
            thing = rng.choice(self.content.unknown["things"])
            return thing.split(" ", 1)[-1] if rng.random() < 0.2 else thing
        if roll < 0.65:
            noun = described(rng, self.content.stories, pick_noun(rng, self.content.stories))
            return article(noun) if rng.random() < 0.7 else noun
        if roll < 0.75:
            return rng.choice(self.content.stories["plurals"])
        thing = invented_acronym(rng) if roll < 0.83 else invented_word(rng)
        if roll > 0.93:
            thing = f"{invented_word(rng)} {rng.choice(('theory', 'system', 'machine', 'method', 'effect', 'law', 'disease'))}"
        return thing

    def person(self, rng: random.Random) -> str:
        if rng.random() < 0.5:
            return rng.choice(self.content.unknown["people"])
        first = rng.choice(self.content.stories["names"])
        return f"{first} {invented_word(rng).capitalize()}" if rng.random() < 0.6 else first

    def new_nonsense(self, rng: random.Random, focus: Focus) -> Turn:
        text = key_mash(rng) if rng.random() < 0.7 else " ".join(invented_word(rng) for _ in range(rng.randint(3, 6)))
        set_focus(focus, "unknown")
        return Turn(text, self.content.unknown["nonsense"]["reply"], "unknown/nonsense")

    # Follow-ups -------------------------------------------------------------------------------------------------

    def follow_topic(self, rng: random.Random, focus: Focus) -> Turn:
        assert focus.topic is not None
        topic = focus.topic
        if rng.random() < 0.08:
            partners = [self.content.topic(other) for pair in sorted(sorted(p) for p in self.content.pairs)
                        if topic.id in pair for other in pair if other != topic.id]
            other = rng.choice(partners) if partners else rng.choice(self.content.topics)
            if other.id != topic.id:
                ask = rng.choice(self.content.frames["compareFollow"]).format(y=self.alias(rng, other))
                return self.comparison(focus, as_typed(rng, ask), topic, other)
        kind = rng.choices(("why", "example", "simple", "short", "more", "again"), (27, 22, 20, 20, 8, 4))[0]
        ask = as_typed(rng, rng.choice(self.content.frames["follow"][kind]), opening=False)
        reply = focus.last_reply if kind == "again" else topic.text(kind)
        return Turn(ask, reply, f"follow/{topic.id}/{kind}")

    def follow_pair(self, rng: random.Random, focus: Focus) -> Turn:
        assert focus.pair is not None
        kind = rng.choice(("why", "example", "simple"))
        ask = as_typed(rng, rng.choice(self.content.frames["follow"][kind]), opening=False)
        first, second = focus.pair
        return Turn(ask, f"{first.texts[kind]} {second.texts[kind]}", f"follow-pair/{first.id}/{second.id}/{kind}")

    def follow_story(self, rng: random.Random, focus: Focus) -> Turn:
        assert focus.subject is not None
        words = self.content.stories
        kind = rng.choices(("next", "short", "another", "why", "swap"), (24, 20, 20, 10, 26))[0]
        asks = self.content.frames["storyFollow"][kind]
        if kind == "swap":
            subject = pick_subject(rng, words)
            return self.story(rng, focus, self.story_request(rng, rng.choice(asks), subject), subject)
        user = as_typed(rng, rng.choice(asks), opening=False)
        if kind == "another":
            return self.story(rng, focus, user, focus.subject)
        if kind == "next":
            return Turn(user, sequel(rng, words, focus.slots), "story/next")
        reply = short_story(rng, words, focus.slots) if kind == "short" else words["why"].format(**focus.slots)
        return Turn(user, reply, f"story/{kind}")

    def follow_unknown(self, rng: random.Random, focus: Focus) -> Turn:
        kind = rng.choice(("why", "again"))
        ask = as_typed(rng, rng.choice(self.content.unknown["followAsks"][kind]), opening=False)
        return Turn(ask, self.content.unknown["followReplies"][kind], f"unknown/follow-{kind}")

    def follow_persona(self, rng: random.Random, focus: Focus) -> Turn:
        ask = as_typed(rng, rng.choice(self.content.unknown["followAsks"]["why"]), opening=False)
        return Turn(ask, self.content.unknown["followReplies"]["why"], "persona/follow-why")

    def follow_none(self, rng: random.Random, focus: Focus) -> Turn:
        no_context = self.content.unknown["noContext"]
        return Turn(as_typed(rng, rng.choice(no_context["asks"]), opening=False), no_context["reply"], "no-context")


def set_focus(focus: Focus, kind: str, *, topic: Topic | None = None, pair: tuple[Topic, Topic] | None = None,
              subject: Subject | None = None, slots: dict[str, str] | None = None) -> None:
    focus.kind, focus.topic, focus.pair, focus.subject, focus.slots = kind, topic, pair, subject, slots or {}


def normalized(text: str) -> str:
    """The form in which evaluation texts are kept out: case, outer punctuation and spacing do not count."""
    return " ".join(text.lower().split()).strip(" ?!.")
