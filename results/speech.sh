#!/bin/sh
# The runs of results/speech.md: AN4's 84 speakers, with 3 seeds. A speaker takes
# part in 57 rounds of pretraining and in 3 more on average. Personal rates are
# chosen on validation examples from the same list for every algorithm and split.
# With Adam at the server, its rate decides how far shared variables move; it is
# the one of the earlier runs' pretraining. FedSim with as many gradient steps as
# FedAlt is left out: on one core, a model's pretraining takes 14 minutes and a run
# one to two.
. "$(dirname "$0")/common.sh"

imports an4 npz "$DATA/speech/an4_by_speaker.npz" \
  --examples=mfcc --lengths=num_frames --label=transcript --person=speaker

experiment --task=speech --data="$OUT/data/an4" --tune \
  --algorithm=fed_avg,fed_sim,fed_alt,finetune \
  --personal=input,output,adapter,all --learning_rate=0.1 \
  --server_learning_rate=0.0015 --personal_learning_rate=0.03,0.1,0.3 \
  --model=small --batch_size=4 --clip_norm=1 --server_optimizer=adam \
  --clients_per_round=8 --pretrain_rounds=600 --total_rounds=30 \
  --rounds_per_evaluation=0 --noequal_steps --seeds=0,1,2 \
  --output_dir="$OUT/compare/an4"
