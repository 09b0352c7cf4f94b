#!/usr/bin/env bash
# Box accuracy, mIoU, pixel and mean accuracy of RPar.
source "$(dirname "$0")/../common.sh"
evaluate rpar "${EVAL:-$data/rpar/refcihp_val.tsv}" --selected-cols 0,5,1,2,3,4 "${tokenizer[@]}" \
  --beam 5 --min-len 52 --max-len-a 0 --max-len-b 52 "$@"
