#!/usr/bin/env bash
# Builds llama.cpp's wheel, once: engine_wheel.sh PYTHON llama-cpp-python==VERSION FOLDER
# It is compiled for this machine's processor; remove FOLDER after moving to another one.
set -euo pipefail
python=$1 requirement=$2 folder=$3
version=${requirement##*==}

mkdir -p "$folder"
if compgen -G "$folder/llama_cpp_python-$version-*.whl" >/dev/null; then
  echo "engine: llama.cpp $version is built already"
  exit 0
fi
for program in cc c++ cmake; do
  if ! command -v $program >/dev/null; then
    echo "the engine is compiled here, and $program is missing; install gcc, g++ and cmake" >&2
    exit 1
  fi
done
echo "engine: compiling llama.cpp $version, some minutes on two cores"
started=$SECONDS
# Text only, and nothing that fetches: no image models, no https client.
CMAKE_ARGS="-DLLAVA_BUILD=OFF -DLLAMA_OPENSSL=OFF" \
  "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps \
  --wheel-dir "$folder" "$requirement"
echo "engine: built in $((SECONDS - started)) s"
