"""ChatML: the text form of a conversation, and its tokens with the mask of what the network must learn to say."""

from typing import Any

import numpy as np
from tokenizers import Tokenizer

END_OF_TEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, IM_START, IM_END)

JINJA_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def render(messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
    """What JINJA_TEMPLATE renders, without a Jinja engine."""
    text = "".join(f"{IM_START}{m['role']}\n{m['content']}{IM_END}\n" for m in messages)
    return text + (f"{IM_START}assistant\n" if add_generation_prompt else "")


def encode_conversation(tokenizer: Tokenizer, record: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Token ids (uint16) and a mask (bool) that is true where the *token itself* is to be learned.

    Learned are the assistant's words and its closing <|im_end|>. Pieces are encoded one by one, which gives the ids of
    the whole text because every piece begins with a special token or directly after a newline.
    """
    pieces: list[tuple[str, bool]] = []
    if record["system"]:
        pieces.append((f"{IM_START}system\n{record['system']}{IM_END}\n", False))
    for turn in record["turns"]:
        pieces.append((f"{IM_START}user\n{turn['user']}{IM_END}\n{IM_START}assistant\n", False))
        pieces.append((f"{turn['assistant']}{IM_END}", True))
        pieces.append(("\n", False))
    ids: list[int] = []
    mask: list[bool] = []
    for encoding, (_, learned) in zip(tokenizer.encode_batch([text for text, _ in pieces]), pieces):
        ids += encoding.ids
        mask += [learned] * len(encoding.ids)
    return np.array(ids, np.uint16), np.array(mask, bool)
