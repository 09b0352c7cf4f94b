#!/usr/bin/env bash
# The tests on every Python of 3.11, 3.12 and 3.13 that is here (on PATH or from pyenv), with the oldest torch that
# pyproject.toml allows and with the newest. Run it again to resume: what passed on the same sources is not run again.
# Environments (7 GB each) and logs are in .matrix/. Exit status 1 for a failure.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p .matrix
sources=$({ git rev-parse HEAD; git diff HEAD; git ls-files -o --exclude-standard -z | xargs -0 -r sha256sum; } | sha256sum)

find_python() {  # VERSION: a shim of pyenv may be on PATH with no Python behind it
  local found
  for found in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3; do
    "$found" -c '' 2> /dev/null && echo "$found" && return
  done
  return 1
}

install() {  # PYTHON TORCH FOLDER
  local floors='import tomllib
for line in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]:
    if line.startswith("torch"):
        print(line.split(",")[0].replace(">=", "==") + ".*")'
  rm -rf "$3" && "$1" -m venv "$3" && : > "$3/constraints.txt" || return
  if [ "$2" = oldest ]; then "$1" -c "$floors" > "$3/constraints.txt" || return; fi
  "$3/bin/python" -m pip install -q --upgrade pip &&
    "$3/bin/python" -m pip install -q -c "$3/constraints.txt" -e '.[train,demo,dev,onnx]' && cp pyproject.toml "$3/installed"
}

count() { grep -oE "[0-9]+ $1" <<< "$2" | cut -d' ' -f1 | grep . || echo 0; }

table='python|torch|passed|failed|skipped' status=0 seen=0
for version in 3.11 3.12 3.13; do
  python=$(find_python "$version") || { table+=$'\n'"$version|(no Python)|-|-|-"; continue; }
  for torch in oldest newest; do
    seen=1 folder=.matrix/$version-$torch log=.matrix/$version-$torch.log
    echo "== Python $version, $torch torch" >&2
    if ! cmp -s pyproject.toml "$folder/installed" && ! install "$python" "$torch" "$folder" > "$log" 2>&1; then
      tail -5 "$log" >&2
      table+=$'\n'"$version|$torch: not installed|-|-|-" status=1
      continue
    fi
    if [ ! -f "$log" ] || [ "$(cat "$folder/passed" 2> /dev/null)" != "$sources" ]; then
      rm -f "$folder/passed"
      if "$folder/bin/python" -m pytest 2>&1 | tee "$log" >&2; then echo "$sources" > "$folder/passed"; else status=1; fi
    fi
    last=$(tail -1 "$log")
    release=$("$folder/bin/python" -c 'from importlib.metadata import version; print(version("torch"))')
    failed=$(($(count failed "$last") + $(count error "$last")))
    table+=$'\n'"$version|$release|$(count passed "$last")|$failed|$(count skipped "$last")"
  done
done
column -t -s '|' <<< "$table"
[ "$seen" = 1 ] || { echo "error: none of Python 3.11, 3.12, 3.13 is here" >&2; exit 1; }
exit "$status"
