#!/bin/sh
# The runs of results/emnist.md and of its part of results/splits.md: characters
# of 206 writers (the paper's 62 classes) and digits of 111 writers, those with
# 125 examples or more, with 3 seeds each. A writer takes part in 6 and 4 rounds
# on average. Each search has 399 runs, and each comparison 132; those published had
# 339 and 114, without FedAlt with as many passes over examples as FFGG.
. "$(dirname "$0")/common.sh"

imports_femnist
imports_digits

# study NAME OPTIONS ...: the comparison; FedAvg with rates that all seeds chose;
# and FedDBE with two weights of its mean regularization, 50 being its authors'.
study() {
  name=$1
  shift
  # shellcheck disable=SC2086
  experiment --task=emnist $SPLITS_STUDY "$@" --output_dir="$OUT/compare/$name"
  # shellcheck disable=SC2086
  experiment --task=emnist $SPLITS_STUDY "$@" --tune_seeds=0,1,2 \
    --algorithm=fed_avg --personal=none \
    --output_dir="$OUT/compare/$name.control"
  for weight in 1 50; do
    # shellcheck disable=SC2086
    experiment --task=emnist $SPLITS_STUDY "$@" \
      --algorithm=fed_sim --personal=bias \
      --task_arg=mean_regularization=$weight \
      --output_dir="$OUT/compare/$name.dbe$weight"
  done
}
# With one seed, the 988 validation examples of FEMNIST chose rates by chance.
study femnist --tune_seeds=0,1,2 --personal_learning_rate=0.001,0.003,0.01,0.03 \
  --data="$OUT/data/femnist_206" --clients_per_round=20 \
  --pretrain_rounds=300 --total_rounds=60
study digits --data="$OUT/data/digits_111" --clients_per_round=10 \
  --pretrain_rounds=200 --total_rounds=40
