#!/bin/sh
# Start a server, ask it where the milk is, show where it looked, and stop it.
# `python` and `engram` come from one environment on the PATH; `make demo` sees to that.
set -eu
cd "$(dirname "$0")/../.."
export ENGRAM_PORT="${ENGRAM_PORT:-8017}" ENGRAM_LOG_LEVEL=warning
export ENGRAM_URL="http://127.0.0.1:$ENGRAM_PORT"

python -m server &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
until engram models >/dev/null 2>&1; do
  kill -0 "$server"  # ends the wait, and this script, when the server has stopped
  sleep 0.2
done

cat docs/examples/story.txt
engram ask docs/examples/story.txt "Where is the milk?"
