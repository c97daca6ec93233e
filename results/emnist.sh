#!/bin/sh
# The runs of results/emnist.md and of its part of results/splits.md: characters
# of 206 writers (the paper's 62 classes) and digits of 836 writers, with 3 seeds
# each. Each search has 272 runs, and each comparison 114.
. "$(dirname "$0")/common.sh"

imports femnist_206 npz "$DATA/handwriting/femnist_206_writers.npz" \
  --examples=pixels --label=label --person=writer
imports mnist_by_writer npz "$DATA/handwriting/mnist_by_writer.npz" \
  --examples=pixels --label=label --person=writer

# study NAME OPTIONS ...: a comparison, and FedDBE's with its mean regularization.
study() {
  name=$1
  shift
  # shellcheck disable=SC2086
  experiment --task=emnist $SPLITS_STUDY "$@" --seeds=0,1,2 \
    --output_dir="$OUT/compare/$name"
  # shellcheck disable=SC2086
  experiment --task=emnist $SPLITS_STUDY "$@" --seeds=0,1,2 \
    --algorithm=fed_sim --personal=bias --task_arg=mean_regularization=50 \
    --output_dir="$OUT/compare/$name.dbe"
}
study femnist --data="$OUT/data/femnist_206" --clients_per_round=20 \
  --pretrain_rounds=300 --total_rounds=60
study digits --data="$OUT/data/mnist_by_writer" --clients_per_round=10 \
  --pretrain_rounds=200 --total_rounds=40 --eval_clients=200
