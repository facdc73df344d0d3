#!/usr/bin/env bash
# Make an environment for each peer in benchmarks/peers/.environments (or the folder given), from PyPI and npm alone.
# Needs Python 3.11 and Node 18 or newer; FER needs TensorFlow and torch, several GB. Safe to run again.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
target="${1:-$here/.environments}"
mkdir -p "$target/face-api"

"${PYTHON:-python3.11}" -m venv "$target/fer"
pip=("$target/fer/bin/pip" install --quiet --disable-pip-version-check)
"${pip[@]}" --requirement "$here/fer/requirements.txt"
"${pip[@]}" --no-deps fer==25.10.3 facenet-pytorch==2.6.0

cp "$here/face-api/package.json" "$target/face-api/"
npm install --prefix "$target/face-api" --loglevel=error --no-audit --no-fund
echo "$target: complete"
