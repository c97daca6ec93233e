#!/bin/sh
# The runs of results/landmarks.md and of its part of results/splits.md: flowers
# of 45 photographers, with 3 seeds. The search has 272 runs and the comparison
# 114.
. "$(dirname "$0")/common.sh"

imports flowers images "$DATA/photos/flowers" \
  --csv="$DATA/photos/flowers_by_photographer.csv" \
  --label=class --person=flickr_user --size=64

# study NAME OPTIONS ...
study() {
  name=$1
  shift
  # shellcheck disable=SC2086
  experiment --task=landmarks --data="$OUT/data/flowers" $SPLITS_STUDY \
    --server_optimizer=adam --server_learning_rate=0.003 \
    --clients_per_round=10 --pretrain_rounds=250 --total_rounds=30 \
    --seeds=0,1,2 "$@" --output_dir="$OUT/compare/$name"
}
study flowers
study flowers.dbe --algorithm=fed_sim --personal=bias \
  --task_arg=mean_regularization=50
