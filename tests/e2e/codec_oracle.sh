#!/usr/bin/env bash
# Our codec against npm's mqtt-packet: every vector and 100,000 random packets, in both directions.
set -euo pipefail
source=${CONVOY_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
bridge=${CODEC_BRIDGE:-${CONVOY_BUILD:?set CONVOY_BUILD to the build folder}/tests/tool_codec_bridge}
if [ ! -x "$bridge" ]; then
    echo "codec_oracle: $bridge is not built" >&2
    exit 2
fi
cd "$source/tests/oracle"
if [ ! -d node_modules/mqtt-packet ]; then
    npm ci --no-audit --no-fund --loglevel=error
fi
exec node compare.mjs "$bridge" "$source/tests/vectors/mqtt5" "${CODEC_ORACLE_COUNT:-100000}"
