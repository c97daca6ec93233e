# What the scripts of this folder have in common; they read it.
#
#   DATA=folder sh results/emnist.sh
#
# DATA is the folder of the data sets and OUT gets everything (default: out).
# FLAGS are added to every experiment; FLAGS="--total_rounds=2
# --pretrain_rounds=1 --seeds=0" tries a script. DRY_RUN=1 prints the commands.
# A script that was stopped goes on where it was.
set -eu
: "${DATA:?Set DATA to the folder of the data sets.}"
OUT=${OUT:-out}
FLAGS=${FLAGS:-}

python() {
  if [ -n "${DRY_RUN:-}" ]; then
    echo ".venv/bin/python $*"
  else
    .venv/bin/python "$@"
  fi
}

# FLAGS come last, and so replace flags of the same name.
experiment() {
  # shellcheck disable=SC2086
  python run_experiment.py "$@" $FLAGS
}

# The methods of results/splits.md, each with the same lists of rates, which are
# chosen on validation examples. FedSim with lora_b is FedSA-LoRA, and with bias
# FedDBE without its mean regularization, which has comparisons of its own.
SPLITS_STUDY="--tune --algorithm=fed_avg,fed_sim,fed_alt,finetune,ffgg,fed_apm
  --personal=input,output,adapter,bias,lora_b,auto,all
  --learning_rate=0.03,0.1
  --personal_learning_rate=0.001,0.003,0.01,0.03,0.1 --rounds_per_evaluation=0
  --seeds=0,1,2"

# imports FOLDER KIND SOURCE ...: imports data, unless they are there.
imports() {
  folder=$OUT/data/$1
  shift
  [ -e "$folder/train.sqlite" ] ||
    python -m tasks.import_client_data "$@" --output_dir="$folder"
}

imports_femnist() {
  imports femnist_206 npz "$DATA/handwriting/femnist_206_writers.npz" \
    --examples=pixels --label=label --person=writer
}

# Writers of 125 digits or more.
imports_digits() {
  imports digits_111 npz "$DATA/handwriting/mnist_by_writer.npz" \
    --examples=pixels --label=label --person=writer --min_examples=125
}

imports_flowers() {
  imports flowers images "$DATA/photos/flowers" \
    --csv="$DATA/photos/flowers_by_photographer.csv" \
    --label=class --person=flickr_user --size=64
}
