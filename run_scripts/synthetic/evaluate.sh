#!/usr/bin/env bash
# Scores the shipped model on a world of drawn people: evaluate.sh WORLD [OUT] writes OUT/results.json and results.md.
# MODEL: another model's folder (docs/models.md). ROWS=200 scores only the first rows of each table.
[ -f "${1:-}/world.json" ] || { echo "error: evaluate.sh WORLD [OUT]: ${1:-no folder} holds no world.json" >&2; exit 2; }
world=$(cd "$1" && pwd)
out=${2:-results/synthetic}
mkdir -p "$out" && out=$(cd "$out" && pwd)
model=${MODEL:-$(cd "$(dirname "$0")/../.." && pwd)/checkpoints/synthetic}
export BPE_DIR=$model/bpe CHECKPOINT=$model ANNOTATION_ROOT=$world/rpar/annos RESULTS=$out/answers
source "$(dirname "$0")/common.sh"
vq=(--vq-config "$model/tokenizer.yaml" --vq-ckpt "$model/tokenizer.safetensors")
masks=(--data "$out/rpar_test.tsv" --annotation-root "$annos" "${vq[@]}")

# The tables to score: all rows, or the first ones, with codes by this tokenizer.
first() { if [ -n "${ROWS:-}" ]; then head -n "$ROWS" "$1"; else cat "$1"; fi; }
# Not the first ones: a table's kinds of rows stand together.
spread() { awk -v rows="${ROWS:-0}" 'NR == FNR { all = NR; next } !rows || int(FNR * rows / all) > int((FNR - 1) * rows / all)' "$1" "$1"; }
first "$world/rkpt/test.tsv" > "$out/rkpt_test.tsv"
first "$world/rkpt/unseen.tsv" > "$out/rkpt_unseen.tsv"
awk 'BEGIN { FS = OFS = "\t" } !seen[$2, $4]++ { $3 = "None"; print }' "$out/rkpt_test.tsv" > "$out/rkpt_by_box.tsv"
first "$world/rhrc/test.tsv" > "$out/rhrc_test.tsv"
first "$world/rpar/test.tsv" > "$out/rpar_test.tsv"
spread "$world/grec/test.tsv" > "$out/grec_test.tsv"
run "$python" -m refhcm tokenizer encode "${masks[@]}" --out "$out/rpar_codes.tsv"
[ -n "${DRY_RUN:-}" ] || awk 'BEGIN { FS = OFS = "\t" } !seen[$6, $3]++ { $2 = "None"; print }' "$out/rpar_codes.tsv" > "$out/rpar_by_box.tsv"
run "$python" -m refhcm tokenizer score "${masks[@]}" --path "$CHECKPOINT" --out "$out/tokenizer.json"

score() {  # NAME TASK TABLE ARGUMENTS...
  step "$1"
  evaluate "$2" "$3" --metrics-path "$out/$1.json" --reliability "$out/$1.png" --batch-size 48 "${@:4}"
}
score rec refcoco "$out/rkpt_test.tsv" --selected-cols 0,5,2,3
score unseen refcoco "$out/rkpt_unseen.tsv" --selected-cols 0,5,2,3
score rkpt rkpt "$out/rkpt_test.tsv" --min-len 4
score rkpt_by_box rkpt "$out/rkpt_by_box.tsv" --min-len 4
score rpar rpar "$out/rpar_codes.tsv" "${vq[@]}"
score rpar_by_box rpar "$out/rpar_by_box.tsv" "${vq[@]}"
score rpar_full_mask rpar_full_mask "$out/rpar_codes.tsv" "${vq[@]}"
score rhrc rhrc "$out/rhrc_test.tsv"
score grec grec "$out/grec_test.tsv"
run "$python" "$root/run_scripts/synthetic/results.py" "$world" "$out"
