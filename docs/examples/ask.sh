#!/bin/sh
# Ask a running server where the milk is, with curl alone.
set -eu
URL=${ENGRAM_URL:-http://127.0.0.1:8000}

curl --silent --show-error --fail-with-body "$URL/v1/qa" \
  --header 'Content-Type: application/json' \
  --data '{
    "story": ["Mary took the milk.", "John went to the garden.", "Mary went to the kitchen.",
              "Mary left the milk.", "Mary went to the hallway."],
    "question": "Where is the milk?",
    "attention": "top",
    "attention_top_k": 2
  }'
