#!/bin/sh
# The runs of results/stackoverflow.md: posts of 320 users and docstrings, 3
# seeds each. Rates are chosen on validation examples from the same lists for
# every algorithm and split. The searches have 52 and 49 runs, the comparisons 33
# and 30; together they have 2,638 and 1,930 rounds of 10 clients.
. "$(dirname "$0")/common.sh"

SCHEMES="--task=stackoverflow --tune --noequal_steps --batch_size=16
  --clients_per_round=10 --clip_norm=1 --max_steps=6
  --algorithm=fed_avg,fed_sim,fed_alt,finetune --seeds=0,1,2"
RATES="--learning_rate=0.3,1 --personal_learning_rate=0.1,0.3,1"

imports_text

experiment $SCHEMES $RATES --data="$OUT/data/se" \
  --personal=input,output,adapter,all --pretrain_rounds=150 \
  --total_rounds=32 --eval_clients=160 --output_dir="$OUT/compare/se"
experiment $SCHEMES $RATES --data=embedded \
  --personal=input,output,adapter --pretrain_rounds=150 \
  --total_rounds=20 --eval_clients=100 --output_dir="$OUT/compare/docstrings"
