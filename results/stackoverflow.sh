#!/bin/sh
# The runs of results/stackoverflow.md and of its part of results/splits.md: posts
# of the Stack Exchange users with 250 sentences or more, with 3 seeds. A user
# takes part in 3 rounds on average, each of 6 steps; 6 steps are also all that
# fine-tuning takes. Left out: ffgg, whose steps see all of a user's sentences, and
# fed_apm, whose dual variables do not act within 3 rounds.
. "$(dirname "$0")/common.sh"

[ -e "$OUT/data/se_250/train.sqlite" ] || [ -n "${DRY_RUN:-}" ] || {
  mkdir -p "$OUT"
  gunzip -c "$DATA/text/stackexchange_by_user.jsonl.gz" \
    >"$OUT/stackexchange.jsonl"
}
imports se_250 jsonl "$OUT/stackexchange.jsonl" \
  --text=sentences --person=user --date=creation_date --min_examples=250

# shellcheck disable=SC2086
experiment --task=stackoverflow --data="$OUT/data/se_250" $SPLITS_STUDY \
  --algorithm=fed_avg,fed_sim,fed_alt,finetune \
  --learning_rate=0.3,1 --personal_learning_rate=0.1,0.5,2 \
  --batch_size=16 --clients_per_round=10 --clip_norm=1 --max_steps=6 \
  --pretrain_rounds=250 --total_rounds=20 --output_dir="$OUT/compare/text"
