#!/usr/bin/env bash
# Trains what results/emnist.md reports. DATA is --data; results go to
# out/emnist/NAME, and runs that are finished are not run again:
#   bash results/emnist.sh DATA NAME PRETRAIN_ROUNDS ROUNDS
#   .venv/bin/python results/collect.py out/emnist/NAME
set -u
data=$1 name=$2 pretrain=$3 rounds=$4
run() {
  local folder=out/emnist/$name/$1
  shift
  .venv/bin/python run_experiment.py --task=emnist --data="$data" \
    --output_dir="$folder" --clients_per_round=20 --learning_rate=0.1 \
    --rounds_per_evaluation=0 "$@" </dev/null
}
for seed in 0 1 2; do
  init=out/emnist/$name/fed_avg-none-$seed
  run "fed_avg-none-$seed" --algorithm=fed_avg --total_rounds="$pretrain" \
    --seed=$seed
  # What more rounds of FedAvg alone would do: the control.
  run "fed_avg_more-none-$seed" --algorithm=fed_avg --total_rounds="$rounds" \
    --init_from="$init" --seed=$seed
  for split in input output adapter; do
    for algorithm in fed_sim fed_alt; do
      run "$algorithm-$split-$seed" --algorithm=$algorithm --personal=$split \
        --total_rounds="$rounds" --init_from="$init" --seed=$seed
    done
  done
  for split in input output adapter all; do
    run "finetune-$split-$seed" --algorithm=finetune --personal=$split \
      --init_from="$init" --seed=$seed
  done
done
