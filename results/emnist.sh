#!/bin/sh
# The runs of results/emnist.md: digits of 836 writers, characters of 206
# writers (the paper's 62 classes), and drawn characters, 5 seeds each. Rates
# are chosen on validation examples from the same lists for every algorithm and
# split. Each search has 72 runs and each comparison 55; together they have
# 6,320 (digits), 7,920 (206 writers) and 4,880 (drawn) rounds of 20 clients.
. "$(dirname "$0")/common.sh"

SCHEMES="--tune --noequal_steps --algorithm=fed_avg,fed_sim,fed_alt,finetune
  --personal=input,output,adapter,all --seeds=0,1,2,3,4"
RATES="--learning_rate=0.03,0.1,0.3 --personal_learning_rate=0.03,0.1,0.3"

imports mnist_by_writer npz "$DATA/handwriting/mnist_by_writer.npz" \
  --examples=pixels --label=label --person=writer
imports femnist_206 npz "$DATA/handwriting/femnist_206_writers.npz" \
  --examples=pixels --label=label --person=writer

experiment --task=emnist --data="$OUT/data/mnist_by_writer" $SCHEMES $RATES \
  --clients_per_round=20 --pretrain_rounds=100 --total_rounds=60 \
  --output_dir="$OUT/compare/emnist_digits"
experiment --task=emnist --data="$OUT/data/femnist_206" $SCHEMES $RATES \
  --clients_per_round=20 --pretrain_rounds=300 --total_rounds=60 \
  --output_dir="$OUT/compare/emnist_femnist"
experiment --task=emnist --data=embedded $SCHEMES $RATES \
  --clients_per_round=20 --pretrain_rounds=150 --total_rounds=40 \
  --output_dir="$OUT/compare/emnist_glyphs"
