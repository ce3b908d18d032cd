#!/bin/sh
# Streams an answer with curl: -N prints each event when it comes.
set -eu
curl -sSN --fail-with-body "${RUNNEL_URL:-http://127.0.0.1:8787}/v1/chat/completions" \
  -H "authorization: Bearer ${RUNNEL_API_KEY:-none}" -H 'content-type: application/json' \
  -d '{"model":"runnel-demo","stream":true,"max_tokens":24,"messages":[{"role":"user","content":"What is a KV cache?"}]}'
