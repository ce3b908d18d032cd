#!/usr/bin/env bash
# Installs what scripts/build-wasm.mjs needs on Debian 12 (root, network to Debian and crates.io): Rust 1.96 with the
# sources of its standard library, lld, and wasm-pack. Does nothing where a toolchain is there already. wasm-pack is
# built without optimisation: it only starts other programs, and compiles in a third of the time that way.
set -euo pipefail
if [ $# -gt 0 ]; then
  # The comment above is the help.
  sed -n '2,/^set /{/^#/s/^# //p}' "$0"
  [ "$1" = --help ] || exit 2
  exit 0
fi
cd "$(dirname "$0")/.."
WASM_PACK_VERSION=0.15.1
export PATH="$PWD/node_modules/.bin:$PATH"

if node scripts/build-wasm.mjs --which; then
  echo "The WASM toolchain is there."
  exit 0
fi

if [ ! -x /usr/bin/wasm-ld-22 ] || [ ! -d /usr/lib/rustlib/src/rust/library/core ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    rustc-web cargo-web rust-web-src lld-22 gcc libc6-dev ca-certificates
fi

if ! command -v wasm-pack > /dev/null && [ ! -x "${CARGO_HOME:-$HOME/.cargo}/bin/wasm-pack" ]; then
  # Debian's rustc and cargo first: a rustup shim on PATH may be older.
  PATH="/usr/bin:$PATH" /usr/bin/cargo install --locked --debug "wasm-pack@$WASM_PACK_VERSION"
fi

node scripts/build-wasm.mjs --which
