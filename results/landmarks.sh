#!/bin/sh
# The runs of results/landmarks.md: flowers of 45 photographers with 5 seeds,
# and drawn scenes with 3. Rates are chosen on validation examples from the same
# lists for every algorithm and split. The searches have 97 and 52 runs, the
# comparisons 95 and 33; together they have 7,750 and 3,860 rounds of 10 clients.
. "$(dirname "$0")/common.sh"

SCHEMES="--task=landmarks --tune --clients_per_round=10 --server_optimizer=adam
  --personal=input,output,adapter,all"
RATES="--learning_rate=0.1 --server_learning_rate=0.001,0.003
  --personal_learning_rate=0.03,0.1,0.3"

imports flowers images "$DATA/photos/flowers" \
  --csv="$DATA/photos/flowers_by_photographer.csv" \
  --label=class --person=flickr_user --size=64

experiment $SCHEMES $RATES --data="$OUT/data/flowers" \
  --algorithm=fed_avg,fed_sim,fed_alt,fed_recon,finetune,ditto,local \
  --pretrain_rounds=250 --total_rounds=40 --finetune_epochs=5 \
  --seeds=0,1,2,3,4 --output_dir="$OUT/compare/flowers"
experiment $SCHEMES $RATES --data=embedded --noequal_steps \
  --algorithm=fed_avg,fed_sim,fed_alt,finetune \
  --pretrain_rounds=300 --total_rounds=40 \
  --seeds=0,1,2 --output_dir="$OUT/compare/scenes"
