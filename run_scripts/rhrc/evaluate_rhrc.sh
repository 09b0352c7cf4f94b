#!/usr/bin/env bash
# CIDEr-D of RHrc.
source "$(dirname "$0")/../common.sh"
evaluate rhrc "${EVAL:-$data/rhrc/capcihp_val.tsv}" --selected-cols 0,3,2,1 --batch-size 16 \
  --beam 5 --min-len 1 --max-len-a 0 --max-len-b 200 "$@"
