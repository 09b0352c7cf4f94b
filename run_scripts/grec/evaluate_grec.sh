#!/usr/bin/env bash
# Pr@(F1=1), N-acc, T-acc, recall, precision, DensityF1 and rejection of generalised REC.
source "$(dirname "$0")/../common.sh"
evaluate grec "${EVAL:-$data/grec/grefcoco_val.tsv}" --selected-cols 0,4,2,3 \
  --beam 1 --min-len 0 --max-len-a 0 --max-len-b 80 "$@"
