#!/bin/sh
# The runs of results/emnist.md and of its part of results/splits.md: characters
# of 206 writers (the paper's 62 classes) and digits of 836 writers, with 3 seeds
# each. Each search has 205 runs, and each comparison 114.
. "$(dirname "$0")/common.sh"

imports femnist_206 npz "$DATA/handwriting/femnist_206_writers.npz" \
  --examples=pixels --label=label --person=writer
imports mnist_by_writer npz "$DATA/handwriting/mnist_by_writer.npz" \
  --examples=pixels --label=label --person=writer

# shellcheck disable=SC2086
experiment --task=emnist --data="$OUT/data/femnist_206" $SPLITS_STUDY \
  --clients_per_round=20 --pretrain_rounds=300 --total_rounds=60 \
  --seeds=0,1,2 --output_dir="$OUT/compare/femnist"
# shellcheck disable=SC2086
experiment --task=emnist --data="$OUT/data/mnist_by_writer" $SPLITS_STUDY \
  --clients_per_round=10 --pretrain_rounds=200 --total_rounds=40 \
  --eval_clients=200 --seeds=0,1,2 --output_dir="$OUT/compare/digits"
