#!/bin/sh
# The runs of results/stackoverflow.md and of its part of results/splits.md: posts
# of 320 users, with 3 seeds. The search has 169 runs and the comparison 96. FFGG,
# whose steps see all of a client's sentences, has two splits only.
. "$(dirname "$0")/common.sh"

imports_text

# study NAME OPTIONS ...
study() {
  name=$1
  shift
  # shellcheck disable=SC2086
  experiment --task=stackoverflow --data="$OUT/data/se" $SPLITS_STUDY \
    --learning_rate=0.3,1 --personal_learning_rate=0.1,0.3,1 \
    --batch_size=16 --clients_per_round=5 --clip_norm=1 --max_steps=6 \
    --pretrain_rounds=200 --total_rounds=16 --eval_clients=100 \
    --seeds=0,1,2 "$@" --output_dir="$OUT/compare/$name"
}
study text --algorithm=fed_avg,fed_sim,fed_alt,finetune,fed_apm
study text.ffgg --algorithm=ffgg --personal=output,adapter
