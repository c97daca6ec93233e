#!/bin/sh
# The runs of results/landmarks.md and of its part of results/splits.md: flowers
# of 45 photographers, with 3 seeds. A photographer takes part in 7 rounds on
# average, each of one or two steps. With Adam at the server, its rate decides how
# far shared variables move, and the clients' hardly matters. There are 141
# validation photos, so two seeds choose, between two personal rates. Left out:
# fed_apm, which is no ADMM with Adam, lora_b, which is larger than the layer that
# it would change, and auto, whose choice takes longer than a run of 30 rounds.
. "$(dirname "$0")/common.sh"

imports_flowers

# study NAME OPTIONS ...
study() {
  name=$1
  shift
  # shellcheck disable=SC2086
  experiment --task=landmarks --data="$OUT/data/flowers" $SPLITS_STUDY \
    --tune_seeds=0,1 --server_optimizer=adam --learning_rate=0.1 \
    --server_learning_rate=0.003 --personal_learning_rate=0.02,0.1 \
    --clients_per_round=10 --pretrain_rounds=250 --total_rounds=30 \
    "$@" --output_dir="$OUT/compare/$name"
}
study flowers --algorithm=fed_avg,fed_sim,fed_alt,finetune \
  --personal=input,output,adapter,bias,all
study flowers.ffgg --algorithm=ffgg --personal=output,adapter
for weight in 1 50; do
  study flowers.dbe$weight --algorithm=fed_sim --personal=bias \
    --task_arg=mean_regularization=$weight
done
