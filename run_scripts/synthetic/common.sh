# What the scripts for drawn people share: the sizes of the small network, and settings that suit a CPU.
export SIZE=small PATCH_IMAGE_SIZE=${PATCH_IMAGE_SIZE:-192} PRECISION=${PRECISION:-autocast} NUM_WORKERS=${NUM_WORKERS:-1}
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

symbols=(--num-bins 128 --code-dict-size 96)
sizes=("${symbols[@]}" --max-image-size "$PATCH_IMAGE_SIZE" --share-pictures --label-smoothing 0)

step() { echo "== $*" >&2; }
