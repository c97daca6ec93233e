#!/usr/bin/env bash
# Trains what results/emnist.md reports: bash results/emnist.sh DATA NAME ROUNDS
# DATA is --data; results go to out/emnist/NAME. Runs that are finished are not
# run again. Then: python results/collect.py out/emnist/NAME
set -u
data=$1 name=$2 rounds=$3
run() {
  local folder=out/emnist/$name/$1
  shift
  .venv/bin/python run_experiment.py --task=emnist --data="$data" \
    --output_dir="$folder" --clients_per_round=20 --learning_rate=0.1 \
    --rounds_per_evaluation=0 "$@" </dev/null
}
for seed in 0 1 2; do
  run "fed_avg-none-$seed" --algorithm=fed_avg --total_rounds=150 --seed=$seed
  init=out/emnist/$name/fed_avg-none-$seed
  for split in input output adapter; do
    for algorithm in fed_sim fed_alt; do
      run "$algorithm-$split-$seed" --algorithm=$algorithm --personal=$split \
        --total_rounds="$rounds" --init_from="$init" --seed=$seed
    done
  done
  for split in input output adapter all; do
    run "finetune-$split-$seed" --algorithm=finetune --personal=$split \
      --finetune_epochs=5 --init_from="$init" --seed=$seed
  done
done
