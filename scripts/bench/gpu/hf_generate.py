"""Hugging Face transformers on the shape and the requests of `npm run bench:gpu`, random weights. Called by it.

Arms, each named in its line of JSON on stdout:
  one-at-a-time   `generate`, one request after another
  static-batch    `generate`, all requests in one batch, the largest that fits; nobody joins or leaves it
  generate_batch  continuous batching of transformers itself, where this version has it
"""

import argparse
import json
import time

import torch
import transformers

parser = argparse.ArgumentParser()
for name in ("layers", "width", "heads", "kv-heads", "ffn", "vocab", "requests", "prompt", "new", "alone"):
    parser.add_argument(f"--{name}", type=int, required=True)
parser.add_argument("--device", default="cuda")
args = parser.parse_args()


def emit(name, value):
    print(json.dumps({"name": name, "value": value}), flush=True)


def settle():
    if args.device == "cuda":
        torch.cuda.synchronize()


def timed(run):
    settle()
    began = time.perf_counter()
    run()
    settle()
    return time.perf_counter() - began


config = transformers.LlamaConfig(
    num_hidden_layers=args.layers,
    hidden_size=args.width,
    num_attention_heads=args.heads,
    num_key_value_heads=args.kv_heads,
    intermediate_size=args.ffn,
    vocab_size=args.vocab,
    max_position_embeddings=131072,
    tie_word_embeddings=True,
    # No token ends an answer, whatever random weights say.
    bos_token_id=0,
    eos_token_id=None,
    pad_token_id=0,
)
dtype = torch.bfloat16 if args.device == "cuda" else torch.float32
torch.manual_seed(1)
torch.set_default_dtype(dtype)
with torch.device(args.device):
    model = transformers.LlamaForCausalLM(config)
torch.set_default_dtype(torch.float32)
model.eval()
emit(
    "versions",
    {
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else args.device,
        "dtype": str(dtype),
        "attention": model.config._attn_implementation,
        "parameters": sum(p.numel() for p in model.parameters()),
    },
)


def prompts(count, length):
    return torch.randint(10, args.vocab, (count, length), device=args.device)


def generate(batch):
    with torch.inference_mode():
        model.generate(
            input_ids=batch,
            attention_mask=torch.ones_like(batch),
            max_new_tokens=args.new,
            min_new_tokens=args.new,
            do_sample=False,
        )


generate(prompts(1, args.prompt))
alone = [timed(lambda: generate(prompts(1, args.prompt))) for _ in range(args.alone)]
emit(
    "one-at-a-time",
    {"requests": args.alone, "outputTokensPerS": args.alone * args.new / sum(alone), "secondsEach": sum(alone) / args.alone},
)

size = args.requests
while size >= 1:
    try:
        seconds = timed(lambda: generate(prompts(size, args.prompt)))
        emit("static-batch", {"batch": size, "outputTokensPerS": size * args.new / seconds, "seconds": seconds})
        break
    except torch.OutOfMemoryError:
        emit(f"no static-batch of {size}", "out of memory")
        torch.cuda.empty_cache()
        size //= 2

try:
    batch = [row.tolist() for row in prompts(args.requests, args.prompt)]
    settings = transformers.GenerationConfig(
        max_new_tokens=args.new, do_sample=False, eos_token_id=-1, pad_token_id=0
    )
    # The first call compiles and captures what the next one runs.
    model.generate_batch(inputs=batch[:2], generation_config=settings)
    outputs = {}
    seconds = timed(lambda: outputs.update(model.generate_batch(inputs=batch, generation_config=settings)))
    tokens = sum(len(output.generated_tokens) for output in outputs.values())
    emit("generate_batch", {"requests": args.requests, "outputTokensPerS": tokens / seconds, "seconds": seconds})
except Exception as error:  # noqa: BLE001 - whatever an experimental path does, the other arms count
    emit("no generate_batch", f"{type(error).__name__}: {error}"[:500])
