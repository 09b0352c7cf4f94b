#!/usr/bin/env bash
# Trains a small model like the shipped one, from nothing: train.sh [RUN]. Finished steps are skipped, an interrupted training resumes.
# SEED=1 PATCH_IMAGE_SIZE=192 PICTURES=24000 LOOK_PICTURES=10000 TOKENIZER_UPDATES=1600 BACKBONE_UPDATES=1800 ENCODER_UPDATES=8000 UPDATES=12800
# ADAPT_UPDATES=1800 are the defaults. START=checkpoints/synthetic continues from a model, with its vocabulary and codes, on other worlds (SEED=7).
set -euo pipefail
run=${1:-runs/synthetic}
mkdir -p "$run" && run=$(cd "$run" && pwd)
start=${START:+$(cd "$START" && pwd)}
export BPE_DIR=${start:-$run}/bpe
vq_sizes=${start:+$start/tokenizer.yaml} vq_weights=${start:+$start/tokenizer.safetensors}
vq_sizes=${vq_sizes:-$run/vqgan/model.yaml} vq_weights=${vq_weights:-$run/vqgan/model.ckpt}
source "$(dirname "$0")/common.sh"
seed=${SEED:-1}
world=$run/world

step "1 the worlds: one with everything said, one with looks alone"
run "$python" -m refhcm world --out "$world" --seed "$seed" --train "${PICTURES:-24000}" --val 200 --test 200
run "$python" -m refhcm world --out "$run/looks" --seed "$((seed + 40))" --max-people 3 --looks 5 \
  --train "${LOOK_PICTURES:-10000}" --val 1 --test 1

step "2 a vocabulary of their words"
[ -d "$BPE_DIR" ] || run "$python" -m refhcm vocabulary "$world/rkpt/train.tsv:2" "$world/rhrc/train.tsv:1" \
  --size 900 --out "$BPE_DIR"

step "3 the parsing-map tokenizer, and the codes of all masks"
masks=(--annotation-root "$world/rpar/annos")
[ -n "$start" ] || run "$python" -m refhcm tokenizer train --data "$world/rpar/train.tsv" --valid "$world/rpar/val.tsv" "${masks[@]}" \
  --vq-config "$root/run_scripts/synthetic/tokenizer.yaml" --save-dir "$run/vqgan" --updates "${TOKENIZER_UPDATES:-1600}" \
  --seed "$seed"
newer() { local made=$1 source; for source in "${@:2}"; do [ "$made" -nt "$source" ] || return 1; done; }
for split in train val; do
  newer "$world/rpar/$split.codes.tsv" "$world/rpar/$split.tsv" "$vq_weights" || run "$python" -m refhcm tokenizer encode --data "$world/rpar/$split.tsv" \
    "${masks[@]}" --vq-config "$vq_sizes" --vq-ckpt "$vq_weights" --out "$world/rpar/$split.codes.tsv"
done

step "4 backbone and encoder: what is to be seen, and who is asked about"
begin=(--backbone-updates "${BACKBONE_UPDATES:-1800}")
[ -z "$start" ] || begin=(--backbone-updates "${BACKBONE_UPDATES:-0}" --finetune-from-model "$start")
[ -f "$run/network/checkpoint_last.pt" ] || run "$python" -m refhcm pretrain "$world" "$run/looks" \
  --save-dir "$run/pretrain" --bpe-dir "$BPE_DIR" "${symbols[@]}" --arch refhcm_small --patch-image-size "$PATCH_IMAGE_SIZE" \
  --seed "$seed" "${begin[@]}" --updates "${ENCODER_UPDATES:-8000}"

step "5 the network: all answers, in the end also several in one instruction"
codes=$world/rpar/train.codes.tsv
[ -n "${DRY_RUN:-}" ] || newer "$run/chains.tsv" "$codes" "$run/looks/rkpt/train.tsv" || {
  cat "$run/looks/rkpt/train.tsv" "$world/rkpt/train.tsv" > "$run/regions.tsv"
  awk 'BEGIN { FS = OFS = "\t" } NR == FNR { keypoints[$1] = $5; next } { print $0, keypoints[$1] }' \
    "$world/rkpt/train.tsv" "$codes" > "$run/chains.part"
  mv "$run/chains.part" "$run/chains.tsv"
}
by_box() {  # TABLE COLUMN OUT: one row in three asks by the box
  [ -n "${DRY_RUN:-}" ] || newer "$3" "$1" || {
    awk -v column="$2" 'BEGIN { FS = OFS = "\t" } NR % 3 == 0 { $column = "None" } { print }' "$1" > "$3.part"
    mv "$3.part" "$3"
  }
}
by_box "$world/rkpt/train.tsv" 3 "$run/poses.tsv"
by_box "$codes" 2 "$run/parts.tsv"
updates=${UPDATES:-12800}
network() { # FOLDER PARTS LAST-UPDATE ...
  SAVE_DIR=$1 train multitask "$world/rkpt/train.tsv" "${sizes[@]}" --bin-smoothing 1.5 --rows-together 2 --batch-size 4 \
    --refpose-dataset "$run/poses.tsv" --refpose-selected-cols 0,5,2,3,4 \
    --refparsing-dataset "$run/parts.tsv" --refparsing-selected-cols 0,5,1,2,3,4 \
    --regcaption-dataset "$world/rhrc/train.tsv" --regcaption-selected-cols 0,3,2,1 \
    --refquery-dataset "$codes" --refquery-selected-cols 0,5,1,2,3,4 \
    --refregion-dataset "$run/regions.tsv" --refregion-selected-cols 0,5,2,3 \
    --refgrec-dataset "$world/grec/train.tsv" --refgrec-selected-cols 0,4,2,3 \
    --part-weights refregion=5,refgrec=5 --part-rows "$2" \
    --annotation-root "$world/rpar/annos" --max-tgt-length 100 --max-epoch 100 --disable-validation \
    --dropout 0 --encoder-drop-path-rate 0 --decoder-drop-path-rate 0 --no-disable-entangle --optimizer fused_adam \
    --adam-betas '(0.9,0.98)' --lr 5e-4 --warmup-ratio -1 --warmup-updates 100 --end-learning-rate 1e-5 \
    --total-num-update "$updates" --max-update "$3" --save-interval-updates 200 "${@:4}"
}
rows=refregion=3,refpose=2,refparsing=4,refquery=2,refgrec=4
network "$run/network" "$rows" "$((updates * 3 / 4))" --seed "$seed" --finetune-from-model "$run/pretrain/checkpoint_last.pt"
# Chains are twice as long as other answers, so they come in the last quarter: the same run on other data.
goes_on=(--restore-file "$run/network/checkpoint_last.pt" --reset-dataloader)
[ ! -f "$run/chained/checkpoint_last.pt" ] || goes_on=()
network "$run/chained" "$rows,refchain=1" "$updates" --seed "$((seed + 1))" "${goes_on[@]}" \
  --refchain-dataset "$run/chains.tsv" --refchain-selected-cols 0,5,1,2,3,4,6

step "6 the decoder of parsing maps, on the network's answers to one row in 10"
answered=$run/answered.tsv answers=$run/answers/rpar_full_mask/answered_predict.json last=$run/chained/checkpoint_last.pt
[ ! "$last" -nt "$run/adapted/model.ckpt" ] || run rm -rf "$run/adapted"  # made for an earlier network
[ -f "$run/adapted/score.json" ] || {
  [ -n "${DRY_RUN:-}" ] || awk 'NR % 10 == 0' "$codes" > "$answered"
  weights=(--vq-config "$vq_sizes" --vq-ckpt "$vq_weights")
  [ "$answers" -nt "$last" ] ||
    CHECKPOINT=$last RESULTS=$run/answers evaluate rpar_full_mask "$answered" --batch-size 48 "${masks[@]}" "${weights[@]}"
  run "$python" -m refhcm tokenizer adapt --data "$answered" --answers "$answers" \
    --valid "$world/rpar/val.codes.tsv" "${masks[@]}" "${weights[@]}" --save-dir "$run/adapted" \
    --updates "${ADAPT_UPDATES:-1800}" --batch-size 64 --seed "$seed"
}

step "7 what is shipped"
run cp "$vq_sizes" "$run/adapted/model.yaml"
run "$python" -m refhcm export "$last" "$run/shipped" --dtype float16 --learned rkpt_by_box \
  --tokenizer "$run/adapted" --bpe-dir "$BPE_DIR"
step "to score it: MODEL=$run/shipped run_scripts/synthetic/evaluate.sh $world"
