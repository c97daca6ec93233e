#!/bin/sh
# The runs of results/theory.md. The argument is one of the stages, in this
# order, or none for all of them:
#
#   forecasts    --regime on pairs of FedAlt and FedSim, with what runs start from
#   comparisons  the same pairs, run to the end with SEEDS (default: 1,2,3)
#   penalty      --personal_l2=auto, numbers and the gate
#
# theory/forecasts.json, to which the first stage adds, was committed before the
# second one was run. It has the seed 0, and comparisons have others. A pair is a
# data set with settings; it counts once for each split, at equal epochs and at
# equal gradient steps. Pairs that are in the file are not forecast again.
. "$(dirname "$0")/common.sh"
STAGE=${1:-all}
THEORY=$OUT/theory
# A trial has forecasts of its own.
[ -z "$FLAGS" ] || FORECASTS=${FORECASTS:-$THEORY/forecasts.json}
FORECASTS=${FORECASTS:-results/theory/forecasts.json}
SEEDS=${SEEDS:-1,2,3}

stage() {
  [ "$STAGE" = all ] || [ "$STAGE" = "$1" ]
}

# Options of each data set: those of all its runs.
digits="--task=emnist --data=$OUT/data/digits_111 --clients_per_round=10
  --learning_rate=0.1 --rounds_per_evaluation=0"
femnist="--task=emnist --data=$OUT/data/femnist_206 --clients_per_round=10
  --batch_size=8 --learning_rate=0.1 --rounds_per_evaluation=0"
glyphs="--task=emnist --data=embedded --clients_per_round=10
  --learning_rate=0.1 --rounds_per_evaluation=0"
flowers="--task=landmarks --data=$OUT/data/flowers --clients_per_round=10
  --learning_rate=0.1 --server_optimizer=adam --server_learning_rate=0.003
  --rounds_per_evaluation=0"

imports_digits
imports_femnist
imports_flowers

# pretrain NAME OPTIONS ROUNDS
pretrain() {
  [ -e "$THEORY/pre/$1/report.html" ] ||
    experiment $2 --algorithm=fed_avg --total_rounds="$3" \
      --output_dir="$THEORY/pre/$1"
}
pretrain femnist "$femnist" 200
pretrain digits "$digits" 100
pretrain glyphs "$glyphs" 100
pretrain flowers "$flowers" 100

# pair NAME DATA_SET OPTIONS SPLITS CHANGES ...
pair() {
  name=$1 all="$3 --init_from=$THEORY/pre/$2 --personal=$4 --total_rounds=40"
  shift 4
  if [ "$PART" = forecasts ]; then
    ! grep -qs "\"pair\": \"$name\"" "$FORECASTS" || return 0
    experiment $all "$@" --regime --regime_clients=24 \
      --output_dir="$THEORY/forecasts/$name"
  else
    # Where steps are large, some runs diverge; the others are compared.
    experiment $all "$@" --algorithm=fed_alt,fed_sim --seeds=$SEEDS \
      --output_dir="$THEORY/comparisons/$name" || [ $? = 1 ]
  fi
}
pairs() {
  PART=$1
  pair femnist_one_step femnist "$femnist" output,adapter --max_steps=1
  pair femnist_two_clients femnist "$femnist" output,adapter \
    --clients_per_round=2
  pair femnist_small_steps femnist "$femnist" output,adapter \
    --learning_rate=0.03
  pair femnist femnist "$femnist" output,adapter,input
  pair femnist_large_steps femnist "$femnist" output,adapter \
    --learning_rate=0.3
  pair femnist_all_clients femnist "$femnist" output --clients_per_round=206
  pair digits digits "$digits" output,adapter
  pair digits_one_step digits "$digits" output,adapter --max_steps=1
  pair glyphs glyphs "$glyphs" output,adapter
  pair flowers flowers "$flowers" output,adapter --server_learning_rate=0.001
  pair flowers_one_step flowers "$flowers" output,adapter \
    --server_learning_rate=0.001 --max_steps=1
}
if stage forecasts; then
  pairs forecasts
  python -m benchmarks.regime_score --regimes="$THEORY/forecasts" \
    --forecasts="$FORECASTS"
fi
if stage comparisons; then
  pairs comparisons
  python -m benchmarks.regime_score --comparisons="$THEORY/comparisons" \
    --forecasts="$FORECASTS"
fi

# penalties NAME OPTIONS: FedAlt with several penalties, and with the gate.
penalties() {
  for split in output adapter; do
    for l2 in auto 0 0.01 0.1 1; do
      experiment $2 --init_from="$THEORY/pre/$1" --personal=$split \
        --total_rounds=40 --algorithm=fed_alt --seeds=1,2 --personal_l2=$l2 \
        --output_dir="$THEORY/penalty/$1/$split/$l2"
    done
    experiment $2 --init_from="$THEORY/pre/$1" --personal=$split \
      --total_rounds=40 --algorithm=fed_alt --seeds=1,2 --gate=0.2 \
      --output_dir="$THEORY/penalty/$1/$split/gate"
  done
}
if stage penalty; then
  penalties femnist "$femnist"
  penalties digits "$digits"
  penalties flowers "$flowers --server_learning_rate=0.001"
  python -m benchmarks.penalties --comparisons="$THEORY/penalty"
fi
