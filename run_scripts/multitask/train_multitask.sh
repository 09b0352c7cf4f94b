#!/usr/bin/env bash
# refhcm.pt: all tasks together, on two GPUs. REFPOSE=, REFPARSING= or REGCAPTION= (empty) leaves a task out.
source "$(dirname "$0")/../common.sh"
parts=()
add() { [ -z "$2" ] || parts+=("--$1-dataset" "$2" "--$1-selected-cols" "$3"); }
add refpose "${REFPOSE-$data/rkpt/rkpt_train.tsv}" 0,5,2,3,4
add refparsing "${REFPARSING-$data/rpar/refcihp_train.tsv}" 0,5,1,2,3,4
add regcaption "${REGCAPTION-$data/rhrc/capcihp_train.tsv}" 0,3,2,1
global_batch 2 16 "$@"
train multitask "${TRAIN:-$data/rec/refcoco_train.tsv}" "${parts[@]}" --max-epoch "${EPOCHS:-50}" --lr 4e-5 \
  --max-src-length 100 --max-tgt-length 100 --clip-norm 5 --warmup-ratio 0.01 \
  --disable-validation --seed 7 "$@"
