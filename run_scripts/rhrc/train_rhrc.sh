#!/usr/bin/env bash
# RHrc: box -> caption.
source "$(dirname "$0")/../common.sh"
files=${TRAIN:-$data/rhrc/capcihp_train.tsv},${VALID:-$data/rhrc/capcihp_val.tsv}
global_batch 8 32 "$@"
train rhrc "$files" --selected-cols 0,3,2,1 --max-epoch 5 --lr 1e-5 --max-tgt-length 50 \
  --encoder-drop-path-rate 0.1 --decoder-drop-path-rate 0.1 --freeze-encoder-embedding --freeze-decoder-embedding \
  --drop-worst-ratio 0.2 --drop-worst-after 2500 \
  --eval-cider --eval-args '{"beam":5,"max_len_b":50,"no_repeat_ngram_size":3}' \
  --best-checkpoint-metric cider --maximize-best-checkpoint-metric "$@"
