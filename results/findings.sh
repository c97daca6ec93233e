#!/bin/sh
# The runs of results/findings.md that no other script makes, with 3 seeds:
# clients without state, five more epochs at the end, clients kept out of
# training, the gate, and dropout.
. "$(dirname "$0")/common.sh"

imports_femnist
imports_flowers

# femnist NAME OPTIONS ...: like emnist.sh, with rates that it chose.
femnist() {
  name=$1
  shift
  experiment --task=emnist --data="$OUT/data/femnist_206" --seeds=0,1,2 \
    --clients_per_round=20 --pretrain_rounds=300 --total_rounds=60 \
    --rounds_per_evaluation=0 "$@" --output_dir="$OUT/findings/femnist_$name"
}
# flowers NAME OPTIONS ...: likewise like landmarks.sh.
flowers() {
  name=$1
  shift
  experiment --task=landmarks --data="$OUT/data/flowers" --seeds=0,1,2 \
    --clients_per_round=10 --pretrain_rounds=250 --total_rounds=30 \
    --learning_rate=0.1 --server_optimizer=adam --server_learning_rate=0.003 \
    --rounds_per_evaluation=0 "$@" --output_dir="$OUT/findings/flowers_$name"
}

# FedRecon gets the same lists as FedAlt, on validation examples.
femnist state --tune --algorithm=fed_alt,fed_recon --personal=output,adapter \
  --learning_rate=0.03,0.1 --personal_learning_rate=0.003,0.01,0.03 \
  --finetune_epochs=5
flowers state --tune --algorithm=fed_alt,fed_recon --personal=output,adapter \
  --personal_learning_rate=0.02,0.1,0.5 --finetune_epochs=5
femnist newcomers --algorithm=fed_avg,fed_alt --personal=output \
  --learning_rate=0.03 --personal_learning_rate=0.01 --unseen_clients=41 \
  --onboarding=initial,mean,reconstruct,finetune --noequal_steps
femnist gate --algorithm=fed_alt --personal=output,adapter \
  --learning_rate=0.03 --personal_learning_rate=0.01 --gate=0.2
for share in 0 0.3; do
  femnist dropout_$share --algorithm=fed_alt --personal=adapter \
    --learning_rate=0.03 --personal_learning_rate=0.01 \
    --personal_dropout=$share
  flowers dropout_$share --algorithm=fed_alt --personal=adapter \
    --personal_learning_rate=0.1 --personal_dropout=$share
done
