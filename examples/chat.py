"""Streams an answer with Python's standard library alone."""

import json
import os
import urllib.request

URL = os.environ.get("RUNNEL_URL", "http://127.0.0.1:8787")
body = {
    "model": "runnel-demo",
    "stream": True,
    "max_tokens": 24,
    "messages": [{"role": "user", "content": "What is a KV cache?"}],
}
request = urllib.request.Request(
    f"{URL}/v1/chat/completions",
    data=json.dumps(body).encode(),
    headers={
        "authorization": f"Bearer {os.environ.get('RUNNEL_API_KEY', 'none')}",
        "content-type": "application/json",
    },
)
with urllib.request.urlopen(request) as response:
    for line in response:
        data = line.decode().strip().removeprefix("data: ")
        if not data or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            raise SystemExit(event["error"]["message"])
        for choice in event["choices"]:
            print(choice["delta"].get("content") or "", end="", flush=True)
print()
