#!/usr/bin/env bash
# RPar: expression -> box and parsing map.
source "$(dirname "$0")/../common.sh"
files=${TRAIN:-$data/rpar/refcihp_train.tsv},${VALID:-$data/rpar/refcihp_val.tsv}
train rpar "$files" --selected-cols 0,5,1,2,3,4 --max-epoch 15 --lr 3e-5 --batch-size 8 --update-freq 8 \
  --max-tgt-length 260 "${tokenizer[@]}" --eval-acc \
  --best-checkpoint-metric miou --maximize-best-checkpoint-metric "$@"
