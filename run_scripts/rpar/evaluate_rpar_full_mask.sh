#!/usr/bin/env bash
# Box accuracy, mIoU, pixel and mean accuracy of RPar by Query Parallel Generation.
source "$(dirname "$0")/../common.sh"
evaluate rpar_full_mask "${EVAL:-$data/rpar/refcihp_val.tsv}" --selected-cols 0,5,1,2,3,4 "${tokenizer[@]}" "$@"
