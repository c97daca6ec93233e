#!/bin/sh
# The runs of results/leaderboard.md: the methods of PFLlib's leaderboard on its
# split of Fashion-MNIST, by its definition: all clients in each round, batches
# of 10, rate 0.005, one epoch, one epoch for FedRep's head. Nothing is tuned.
# It runs ROUNDS rounds (default: 60) with SEEDS (default: 0), where the
# leaderboard has 2,000 and three seeds; there the personalized methods peak after
# 40 to 120. Curves are of test examples, because the leaderboard counts the best
# round.
#
# pFedMe moves its shared model --local_rounds times in a round, and not once
# for each batch. `local` has as many epochs as the others have rounds.
#
# A round of FedAvg, 4,617 steps and an evaluation, takes 7.5 seconds on two cores
# with nothing else running (--algorithm=fed_avg --total_rounds=3).
. "$(dirname "$0")/common.sh"

ROUNDS=${ROUNDS:-60}
SEEDS=${SEEDS:-0}
COMMON="--task=results/leaderboard_task.py:create_task
  --data=$DATA/benchmark/fashion_mnist_dir01_20clients.npz
  --batch_size=10 --clients_per_round=19 --learning_rate=0.005 --epochs=1
  --personal_epochs=1 --rounds_per_evaluation=1 --noequal_steps
  --seeds=$SEEDS"

# fed_sim with the output layer is FedPer.
experiment $COMMON --pretrain_rounds=0 --total_rounds=$ROUNDS \
  --algorithm=fed_avg,fed_sim,fed_alt,fed_rep,ditto,pfedme,apfl \
  --personal=output,adapter --output_dir="$OUT/compare/leaderboard"
experiment $COMMON --pretrain_rounds=0 --finetune_epochs=$ROUNDS \
  --algorithm=local --output_dir="$OUT/compare/leaderboard_local"
experiment $COMMON --pretrain_rounds=$ROUNDS --algorithm=finetune \
  --personal=output,adapter,all \
  --output_dir="$OUT/compare/leaderboard_finetune"

# Accuracy over all test examples in the best and in the last round.
[ -n "${DRY_RUN:-}" ] || for run in "$OUT"/compare/leaderboard/*/metrics.csv; do
  .venv/bin/python - "$run" <<'END'
import csv, pathlib, sys
with open(sys.argv[1], newline='') as f:
  rows = list(csv.DictReader(f))
names = ('eval/personalized/accuracy', 'eval/non_personalized/accuracy')
[name] = [name for name in names if name in rows[0]]
curve = [float(row[name]) for row in rows]
best = max(range(len(curve)), key=curve.__getitem__)
print(f'{pathlib.Path(sys.argv[1]).parent.name}: best {curve[best]:.2%} in round'
      f' {best + 1}, last {curve[-1]:.2%}')
END
done
