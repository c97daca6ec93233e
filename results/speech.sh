#!/bin/sh
# The runs of results/speech.md: AN4's 84 speakers, and synthesized voices, 3
# seeds each. Rates are chosen on validation examples from the same lists for
# every algorithm and split. Each search has 52 runs and each comparison 33;
# together they have 6,270 and 3,430 rounds of 8 clients.
. "$(dirname "$0")/common.sh"

SCHEMES="--task=speech --tune --model=small --batch_size=4 --clip_norm=1
  --server_optimizer=adam --clients_per_round=8 --noequal_steps
  --algorithm=fed_avg,fed_sim,fed_alt,finetune
  --personal=input,output,adapter,all --seeds=0,1,2"
RATES="--learning_rate=0.1 --server_learning_rate=0.00015,0.0015
  --personal_learning_rate=0.03,0.1,0.3"

imports an4 npz "$DATA/speech/an4_by_speaker.npz" \
  --examples=mfcc --lengths=num_frames --label=transcript --person=speaker

experiment $SCHEMES $RATES --data="$OUT/data/an4" \
  --pretrain_rounds=900 --total_rounds=30 --finetune_epochs=5 \
  --output_dir="$OUT/compare/an4"
experiment $SCHEMES $RATES --data=embedded \
  --pretrain_rounds=450 --total_rounds=20 --eval_clients=40 \
  --output_dir="$OUT/compare/voices"
