#!/usr/bin/env bash
# refhcm-tuned.pt: five epochs on ReasonRef, from refhcm.pt.
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../common.sh"
reason=$data/reasonref
only() { local files=("$@"); echo "${files[0]}"; }
export TRAIN=${TRAIN:-$(only "$reason"/reasondec/total_*_train.tsv)}
export REFPOSE=${REFPOSE-$(only "$reason"/reasonpose/total_*_train.tsv)}
export REFPARSING=${REFPARSING-$(only "$reason"/reasonpar/total_*_train.tsv)}
[ "$size" = test ] || export INIT=${INIT-$checkpoints/refhcm.pt}
export EPOCHS=${EPOCHS:-5} SAVE_DIR=${SAVE_DIR:-$root/runs/reasonref}
exec "$here/train_multitask.sh" "$@"
