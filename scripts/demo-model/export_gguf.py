"""Writes the trained network as a GGUF file of the llama architecture, with tokenizer and chat template inside.

Matrices are quantized (Q8_0 by default), norms stay F32. No row is permuted: the network is trained with RoPE on
consecutive pairs, which is what GGUF's llama architecture means.
"""

import argparse
import hashlib
import json
from pathlib import Path

import gguf
import numpy as np

from demo.chatml import END_OF_TEXT, IM_END, JINJA_TEMPLATE, SPECIAL_TOKENS
from demo.content import HOME
from demo.model import Config

NAME = "runnel demo"
DESCRIPTION = "Tiny chat model trained from scratch on generated text; it knows LLM serving and little stories."
LICENSE = "MIT"
BLOCK_NAMES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down", "attn_norm", "ffn_norm")
TYPES = {"f32": gguf.GGMLQuantizationType.F32, "f16": gguf.GGMLQuantizationType.F16,
         "q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}
FILE_TYPES = {"f32": gguf.LlamaFileType.ALL_F32, "f16": gguf.LlamaFileType.MOSTLY_F16,
              "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0, "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0}


def add_metadata(writer: gguf.GGUFWriter, config: Config, quantization: str) -> None:
    writer.add_name(NAME)
    writer.add_description(DESCRIPTION)
    writer.add_author("the runnel authors")
    writer.add_license(LICENSE)
    writer.add_languages(["en"])
    writer.add_size_label("2.4M")
    writer.add_file_type(FILE_TYPES[quantization])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.d_ff)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.d_head)
    writer.add_value_length(config.d_head)
    writer.add_rope_dimension_count(config.d_head)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_vocab_size(config.vocab_size)


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer_path: Path) -> None:
    """Byte-level BPE with the GPT-2 split rule; <|im_end|> ends an answer, and there is no BOS."""
    model = json.loads(tokenizer_path.read_text(encoding="utf-8"))["model"]
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda entry: entry[1])]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in SPECIAL_TOKENS else normal for token in tokens])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index(IM_END))
    writer.add_eot_token_id(tokens.index(IM_END))
    writer.add_pad_token_id(tokens.index(END_OF_TEXT))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(JINJA_TEMPLATE)


def add_tensor(writer: gguf.GGUFWriter, name: str, value: np.ndarray, quantization: str) -> None:
    if value.ndim == 1:
        writer.add_tensor(name, value.astype(np.float32))
        return
    kind = TYPES[quantization]
    packed = gguf.quants.quantize(np.ascontiguousarray(value, np.float32), kind)
    writer.add_tensor(name, packed, raw_dtype=kind)


def write_gguf(out: Path, params: dict[str, np.ndarray], tokenizer_path: Path, quantization: str) -> None:
    config = Config()
    writer = gguf.GGUFWriter(out, "llama")
    add_metadata(writer, config, quantization)
    add_tokenizer(writer, tokenizer_path)
    add_tensor(writer, "token_embd.weight", params["token_embd"], quantization)
    for layer in range(config.num_layers):
        for name in BLOCK_NAMES:
            value = params[name][layer]
            add_tensor(writer, f"blk.{layer}.{name}.weight", value.T if value.ndim == 2 else value, quantization)
    add_tensor(writer, "output_norm.weight", params["output_norm"], quantization)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe(out: Path, params: dict[str, np.ndarray], quantization: str) -> dict[str, object]:
    """The catalogue entry next to the model file."""
    return {
        "id": "runnel-demo",
        "name": NAME,
        "description": DESCRIPTION,
        "file": out.name,
        "sizeBytes": out.stat().st_size,
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
        "contextLength": Config().context_length,
        "parameters": int(sum(value.size for value in params.values())),
        "quantization": quantization.upper(),
        "architecture": "llama",
        "license": LICENSE,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=HOME / "build" / "checkpoint.npz", help="default: %(default)s")
    parser.add_argument("--tokenizer", type=Path, default=HOME / "build" / "tokenizer.json", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=HOME / "build" / "demo.gguf", help="default: %(default)s")
    parser.add_argument("--quantization", choices=sorted(TYPES), default="q8_0", help="default: %(default)s")
    args = parser.parse_args()
    data = np.load(args.checkpoint)
    params = {key[2:]: data[key] for key in data.files if key.startswith("p.")}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(args.out, params, args.tokenizer, args.quantization)
    entry = describe(args.out, params, args.quantization)
    args.out.with_suffix(".json").write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(entry, indent=2))


if __name__ == "__main__":
    main()
