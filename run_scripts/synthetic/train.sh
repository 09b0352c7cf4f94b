#!/usr/bin/env bash
# The shipped model from nothing: train.sh [RUN]. A finished step is not done again; a training goes on where it was.
# SEED=1 PICTURES=24000 EASY_PICTURES=8000 TOKENIZER_UPDATES=1600 BOX_UPDATES=2800 ALL_UPDATES=7400 WORD_UPDATES=1600
# LAST_UPDATES=1800 choose another run.
run=${1:-runs/synthetic}
mkdir -p "$run" && run=$(cd "$run" && pwd)
export BPE_DIR=$run/bpe
source "$(dirname "$0")/common.sh"
seed=${SEED:-1}
world=$run/world

step "1 the world: drawn people, and an easy one of one person a picture"
run "$python" -m refhcm.data.synthetic --out "$world" --seed "$seed" --train "${PICTURES:-24000}" --val 200 --test 200
run "$python" -m refhcm.data.synthetic --out "$run/easy" --seed "$((seed + 20))" --max-people 1 \
  --train "${EASY_PICTURES:-8000}" --val 100 --test 1

step "2 a vocabulary of its words"
[ -d "$BPE_DIR" ] || run "$python" -m refhcm.tasks.make_vocabulary "$world/rkpt/train.tsv:2" "$world/rhrc/train.tsv:1" \
  --size 900 --out "$BPE_DIR"

step "3 the parsing-map tokenizer, and the codes of all masks"
masks=(--annotation-root "$world/rpar/annos")
run "$python" -m refhcm.tasks.tokenizer train --data "$world/rpar/train.tsv" --valid "$world/rpar/val.tsv" "${masks[@]}" \
  --vq-config "$root/run_scripts/synthetic/tokenizer.yaml" --save-dir "$run/vqgan" --updates "${TOKENIZER_UPDATES:-1600}" \
  --seed "$seed"
for split in train val; do
  [ -f "$world/rpar/$split.codes.tsv" ] || run "$python" -m refhcm.tasks.tokenizer encode --data "$world/rpar/$split.tsv" \
    "${masks[@]}" --vq-config "$run/vqgan/model.yaml" --vq-ckpt "$run/vqgan/model.ckpt" --out "$world/rpar/$split.codes.tsv"
done

# The network learns in four stages, each from the one before. A learning rate of 1e-3 is faster for minutes, and then
# never reads the words.
learn() {  # NAME BEFORE TASK TABLE ARGUMENTS...
  local before=()
  [ -z "$2" ] || before=(--finetune-from-model "$run/$2/checkpoint_last.pt")
  SAVE_DIR=$run/$1 train "$3" "$4" "${before[@]}" --seed "$seed" "${sizes[@]}" --bin-smoothing 1.5 --rows-together 2 \
    --dropout 0 --encoder-drop-path-rate 0 --decoder-drop-path-rate 0 --no-disable-entangle --optimizer fused_adam \
    --adam-betas '(0.9,0.98)' --warmup-ratio -1 --max-epoch 100 --disable-validation --save-interval-updates 200 "${@:5}"
}
boxes() {  # NAME BEFORE TABLE ARGUMENTS...
  learn "$1" "$2" refcoco "$3,$world/rkpt/val.tsv" --selected-cols 0,5,2,3 --batch-size 32 \
    --required-seq-len-multiple 1 --lr 3e-4 --total-num-update 60000 "${@:4}"
}
answers() {  # NAME BEFORE ARGUMENTS...
  local codes=$world/rpar/train.codes.tsv
  learn "$1" "$2" multitask "$world/rkpt/train.tsv" \
    --refpose-dataset "$world/rkpt/train.tsv" --refpose-selected-cols 0,5,2,3,4 \
    --refparsing-dataset "$codes" --refparsing-selected-cols 0,5,1,2,3,4 \
    --regcaption-dataset "$world/rhrc/train.tsv" --regcaption-selected-cols 0,3,2,1 \
    --refquery-dataset "$codes" --refquery-selected-cols 0,5,1,2,3,4 \
    --refregion-dataset "$world/rkpt/train.tsv" --refregion-selected-cols 0,5,2,3 \
    --annotation-root "$world/rpar/annos" --max-tgt-length 100 --batch-size 8 --warmup-updates 50 "${@:3}"
}

step "4 the network: boxes, pictures of one person among pictures of several"
both=$run/boxes.tsv
[ -n "${DRY_RUN:-}" ] || [ -f "$both" ] || {
  cat "$run/easy/rkpt/train.tsv" <(head -n 72000 "$world/rkpt/train.tsv") > "$both.part"
  mv "$both.part" "$both"
}
boxes boxes "" "$both" --warmup-updates 100 --max-update "${BOX_UPDATES:-2800}"

step "5 the network: all answers"
answers all boxes --part-weights refregion=8 --lr 4e-4 --total-num-update 9500 --end-learning-rate 2e-5 \
  --max-update "${ALL_UPDATES:-7400}"

step "6 the network: boxes again, for the words"
boxes words all "$world/rkpt/train.tsv" --warmup-updates 50 --max-update "${WORD_UPDATES:-1600}"

step "7 the network: all answers again"
last=${LAST_UPDATES:-1800}
answers last words --part-weights refregion=24 --lr 3e-4 --total-num-update "$last" --end-learning-rate 1e-5 \
  --max-update "$last"

step "8 what is shipped"
run mkdir -p "$run/shipped/vqgan"
run cp -r "$BPE_DIR" "$run/shipped/"
run cp "$run/vqgan/model.yaml" "$run/shipped/vqgan/"
run "$python" -m refhcm.tasks.export "$run/vqgan/model.ckpt" "$run/shipped/vqgan/model.ckpt"
run "$python" -m refhcm.tasks.export "$run/last/checkpoint_last.pt" "$run/shipped/model.pt"
step "scored by: MODEL=$run/shipped run_scripts/synthetic/evaluate.sh $world"
