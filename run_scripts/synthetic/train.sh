#!/usr/bin/env bash
# The shipped model from nothing: train.sh [RUN]. A finished step is not done again; a training goes on where it was.
# SEED=1 PICTURES=24000 EASY_PICTURES=8000 TOKENIZER_UPDATES=1600 BOX_UPDATES=3000 UPDATES=8000 choose another run.
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

# The network learns in two stages. A learning rate of 1e-3 is faster for minutes, and then never reads the words.
learn() {  # NAME TASK TABLE ARGUMENTS...
  SAVE_DIR=$run/$1 train "$2" "$3" --seed "$seed" "${sizes[@]}" --bin-smoothing 1.5 --dropout 0 --rows-together 2 \
    --encoder-drop-path-rate 0 --decoder-drop-path-rate 0 --entangle-position-embedding --no-disable-entangle \
    --sinusoidal-positions --optimizer fused_adam --adam-betas '(0.9,0.98)' --warmup-ratio -1 --max-epoch 100 \
    --disable-validation --save-interval-updates 200 "${@:4}"
}

step "4 the network: boxes, one person a picture among pictures of several"
both=$run/boxes.tsv
[ -n "${DRY_RUN:-}" ] || [ -f "$both" ] || {
  cat "$run/easy/rkpt/train.tsv" <(head -n 72000 "$world/rkpt/train.tsv") > "$both.part"
  mv "$both.part" "$both"
}
learn boxes refcoco "$both,$world/rkpt/val.tsv" --selected-cols 0,5,2,3 --batch-size 32 --required-seq-len-multiple 1 \
  --lr 3e-4 --warmup-updates 100 --total-num-update 60000 --max-update "${BOX_UPDATES:-3000}"

step "5 the network: all answers"
updates=${UPDATES:-8000}
codes=$world/rpar/train.codes.tsv
learn all multitask "$world/rkpt/train.tsv" --finetune-from-model "$run/boxes/checkpoint_last.pt" \
  --refpose-dataset "$world/rkpt/train.tsv" --refpose-selected-cols 0,5,2,3,4 \
  --refparsing-dataset "$codes" --refparsing-selected-cols 0,5,1,2,3,4 \
  --regcaption-dataset "$world/rhrc/train.tsv" --regcaption-selected-cols 0,3,2,1 \
  --refquery-dataset "$codes" --refquery-selected-cols 0,5,1,2,3,4 \
  --refregion-dataset "$world/rkpt/train.tsv" --refregion-selected-cols 0,5,2,3 --part-weights refregion=8 \
  --annotation-root "$world/rpar/annos" --max-tgt-length 100 --batch-size 8 --lr 4e-4 \
  --warmup-updates 50 --total-num-update "$updates" --end-learning-rate 2e-5 --max-update "$updates"

step "6 what is shipped"
run mkdir -p "$run/shipped/vqgan"
run cp -r "$BPE_DIR" "$run/shipped/"
run cp "$run/vqgan/model.yaml" "$run/shipped/vqgan/"
run "$python" -m refhcm.tasks.export "$run/vqgan/model.ckpt" "$run/shipped/vqgan/model.ckpt"
run "$python" -m refhcm.tasks.export "$run/all/checkpoint_last.pt" "$run/shipped/model.pt"
step "scored by: MODEL=$run/shipped run_scripts/synthetic/evaluate.sh $world"
