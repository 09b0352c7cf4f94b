#!/usr/bin/env bash
# RPar: expression -> box and parsing map.
source "$(dirname "$0")/../common.sh"
files=${TRAIN:-$data/rpar/refcihp_train.tsv},${VALID:-$data/rpar/refcihp_val.tsv}
global_batch 8 64 "$@"
train rpar "$files" --selected-cols 0,5,1,2,3,4 --max-epoch 15 --lr 3e-5 \
  --max-tgt-length 260 "${tokenizer[@]}" --eval-acc \
  --best-checkpoint-metric miou --maximize-best-checkpoint-metric "$@"
