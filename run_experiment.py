# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains and tests partially personalized models, and writes a report.

  python run_experiment.py
  python run_experiment.py --task=emnist --algorithm=fed_alt --personal=adapter
  python run_experiment.py --flagfile=tasks/presets/emnist_demo.flags

The same command again goes on where it stopped. Everything is written to
--output_dir; look at report.html.
"""

import os

# Before TensorFlow is imported: it would print notes about GPUs.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

from collections.abc import Sequence
import contextlib
import dataclasses
import sys

from absl import app
from absl import flags
from absl import logging

import tasks
from tff_partial.experiments import combinations
from tff_partial.experiments import config as config_lib
from tff_partial.experiments import run_folder
from tff_partial.runtime import worker_process

_DEFAULTS = config_lib.Config()

flags.DEFINE_enum(
    'task',
    'emnist',
    ['emnist', 'stackoverflow', 'speech', 'landmarks'],
    'What is learnt: characters by writer, the next word by user, speech by'
    ' speaker, landmarks by photographer.',
)
flags.DEFINE_string(
    'data',
    'embedded',
    'Where examples come from: "embedded" makes some for demonstration, "tff"'
    " downloads the paper's, anything else is a folder made by"
    ' tasks.import_client_data.',
)
flags.DEFINE_string(
    'model',
    None,
    "Which of the task's models; by default the one for laptops.",
)
flags.DEFINE_integer(
    'batch_size',
    None,
    "Examples a gradient step; by default the task's.",
    lower_bound=1,
)

# The algorithm.
flags.DEFINE_string(
    'algorithm',
    _DEFAULTS.algorithm,
    f'How clients train: {", ".join(config_lib.ALGORITHMS)}; or by names that'
    ' stand for an algorithm and a split:'
    f' {", ".join(config_lib.NAMES)}. Several with commas are compared.',
)
flags.DEFINE_string(
    'personal',
    None,
    'Which variables are personal: input, output, adapter, norm, all, none, or'
    ' "regex:" and an expression searched in variable paths; by default output,'
    " or what the algorithm's name says. Nothing for fed_avg, all for local;"
    ' ditto, pfedme and apfl have a personal copy of all. Several'
    ' with commas are compared, but for a "regex:".',
)
flags.DEFINE_integer(
    'total_rounds', _DEFAULTS.total_rounds, 'Rounds of training.', lower_bound=0
)
flags.DEFINE_integer(
    'clients_per_round',
    _DEFAULTS.clients_per_round,
    'Clients in a round, drawn uniformly.',
    lower_bound=1,
)
flags.DEFINE_integer(
    'pretrain_rounds',
    _DEFAULTS.pretrain_rounds,
    'Rounds of FedAvg before personalization; its model is the baseline. By'
    ' default 200, but none with --init_from.',
    lower_bound=0,
)
flags.DEFINE_string(
    'init_from',
    _DEFAULTS.init_from,
    "Start from this run's folder, or from weights in a .safetensors, .keras or"
    ' .h5 file; that model is the baseline.',
)
flags.DEFINE_integer(
    'finetune_epochs',
    _DEFAULTS.finetune_epochs,
    'Epochs each client trains its personal variables before the last test; by'
    ' default none, but 5 with --algorithm=finetune and 50 with local.',
    lower_bound=0,
)

# A client's work.
flags.DEFINE_integer(
    'epochs', _DEFAULTS.epochs, 'Passes over the examples.', lower_bound=1
)
flags.DEFINE_integer(
    'personal_epochs',
    _DEFAULTS.personal_epochs,
    "Passes of FedAlt's personal phase; by default --epochs.",
    lower_bound=1,
)
flags.DEFINE_integer(
    'max_steps',
    _DEFAULTS.max_steps,
    'At most so many gradient steps a phase.',
    lower_bound=1,
)
flags.DEFINE_float(
    'learning_rate',
    _DEFAULTS.learning_rate,
    "Clients' learning rate (SGD) for the shared variables.",
    lower_bound=0,
)
flags.DEFINE_float(
    'personal_learning_rate',
    _DEFAULTS.personal_learning_rate,
    'The same for the personal variables; by default --learning_rate.',
    lower_bound=0,
)
flags.DEFINE_enum(
    'schedule',
    _DEFAULTS.schedule,
    list(config_lib.SCHEDULES),
    "How clients' learning rates change over the rounds.",
)
flags.DEFINE_integer(
    'warmup_rounds',
    _DEFAULTS.warmup_rounds,
    'Of --schedule=linear: rounds in which the rate rises.',
    lower_bound=0,
)
flags.DEFINE_integer(
    'staircase_rounds',
    _DEFAULTS.staircase_rounds,
    'Of --schedule=staircase: rounds after which the rate is halved.',
    lower_bound=1,
)
flags.DEFINE_float(
    'clip_norm',
    _DEFAULTS.clip_norm,
    'Bound on the norm of the gradients of the variables being trained.',
    lower_bound=0,
)
flags.DEFINE_float(
    'personal_l2',
    _DEFAULTS.personal_l2,
    'Weight of the squared distance of personal variables from their start; of'
    ' ditto and pfedme, from the shared model.',
    lower_bound=0,
)
flags.DEFINE_float(
    'personal_dropout',
    _DEFAULTS.personal_dropout,
    "Part of personal adapters' outputs that training drops.",
    lower_bound=0,
)
flags.DEFINE_float(
    'shared_proximal',
    _DEFAULTS.shared_proximal,
    "Weight of the squared distance of shared variables from the server's.",
    lower_bound=0,
)

flags.DEFINE_integer(
    'local_rounds',
    _DEFAULTS.local_rounds,
    'Of pfedme: how often the shared model is pulled in a round.',
    lower_bound=1,
)
flags.DEFINE_float(
    'pull',
    _DEFAULTS.pull,
    'Of pfedme: which part of the way to the personal model.',
    lower_bound=0,
    upper_bound=1,
)

# The server.
flags.DEFINE_enum(
    'server_optimizer',
    _DEFAULTS.server_optimizer,
    list(config_lib.SERVER_OPTIMIZERS),
    'Applied to the mean update; sgd with rate 1 averages.',
)
flags.DEFINE_float(
    'server_learning_rate',
    _DEFAULTS.server_learning_rate,
    "The server's learning rate.",
    lower_bound=0,
)
flags.DEFINE_enum(
    'client_weighting',
    _DEFAULTS.client_weighting,
    ['num_examples', 'uniform'],
    'What a client counts in the mean.',
)
flags.DEFINE_enum(
    'aggregator',
    _DEFAULTS.aggregator,
    list(config_lib.AGGREGATORS),
    'mean, or robust: zeroing and clipping of outliers.',
)

# Testing, and running.
flags.DEFINE_integer(
    'eval_clients',
    _DEFAULTS.eval_clients,
    'Test so many clients, drawn by the seed; 0 is all.',
    lower_bound=0,
)
flags.DEFINE_integer(
    'unseen_clients',
    _DEFAULTS.unseen_clients,
    'Keep so many clients out of training, and test them apart.',
    lower_bound=0,
)
flags.DEFINE_string(
    'onboarding',
    _DEFAULTS.onboarding,
    'What clients that never trained are tested with, of'
    f' {",".join(config_lib.ONBOARDING)}, or none; by default initial,mean with'
    ' --unseen_clients. Nothing for fed_avg, finetune and local.',
)
flags.DEFINE_float(
    'gate',
    _DEFAULTS.gate,
    "Hold out this share of every client's training examples, and let it"
    ' keep the model without personalization unless they speak for the other;'
    ' 0 is off.',
    lower_bound=0,
)
flags.DEFINE_integer(
    'rounds_per_evaluation',
    _DEFAULTS.rounds_per_evaluation,
    'Test some clients every so many rounds, for the curves; 0 is never.',
    lower_bound=0,
)
flags.DEFINE_float(
    'seconds_per_checkpoint',
    _DEFAULTS.seconds_per_checkpoint,
    'Make a checkpoint every so many seconds of training, and at its end; 0 is'
    ' after every round.',
    lower_bound=0,
)
flags.DEFINE_integer(
    'seed', _DEFAULTS.seed, 'What all randomness depends on.', lower_bound=0
)
flags.DEFINE_list(
    'seeds',
    None,
    'Compare over these seeds: "0,1,2" runs everything three times.',
)
flags.DEFINE_bool(
    'equal_steps',
    True,
    'Of a comparison with FedAlt and FedSim: run FedSim also with as many'
    ' gradient steps as FedAlt takes.',
)
flags.DEFINE_string('output_dir', 'out/experiment', 'Where everything goes.')
flags.DEFINE_bool(
    'overwrite', False, 'Remove what an earlier run left in --output_dir.'
)
flags.DEFINE_string(
    'export_client',
    None,
    "After the run, write this client's model for Keras and TensorFlow Lite.",
)
flags.DEFINE_string('export_dir', None, 'Where --export_client writes it.')
flags.DEFINE_integer(
    'max_concurrent_clients',
    None,
    'Clients that compute at the same time, among whom the cores are divided;'
    ' by default one per core, but no more than compute together.',
    lower_bound=1,
)
flags.DEFINE_integer(
    'clients_per_shard',
    None,
    'Compute so many clients of a round or of the test at a time, which bounds'
    ' memory; by default all of a round, or an eighth of it with --workers.',
    lower_bound=1,
)
flags.DEFINE_list(
    'workers',
    [],
    'Compute on these workers, as host:port,host:port. Start each with "python'
    ' -m tff_partial.runtime.serve_worker". The protocol knows no passwords:'
    ' use a private network or a tunnel.',
)
flags.DEFINE_bool('doctor', False, 'Check this installation, and do no more.')
flags.DEFINE_bool('debug', False, 'Show where in the program an error arose.')

FLAGS = flags.FLAGS


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    sys.exit(f'run_experiment: Expected flags only, found {argv[1]!r}.')
  logging.set_verbosity(logging.WARNING)
  try:
    status = _run()
  except (ValueError, OSError, RuntimeError) as e:
    if FLAGS.debug:
      raise
    text = ' '.join(str(e).split()) or type(e).__name__
    print(f'run_experiment: {text}', file=sys.stderr)
    status = 1
  except (KeyboardInterrupt, SystemExit) as e:  # Ctrl-C or SIGTERM.
    print(
        '\nrun_experiment: stopped. The same command goes on from the last'
        ' checkpoint.',
        file=sys.stderr,
    )
    # Everything is closed by now, but TFF's threads may be in the middle of a
    # call, and an interpreter that ends under them aborts.
    sys.stdout.flush()
    sys.stderr.flush()
    code = 130 if isinstance(e, KeyboardInterrupt) else e.code
    os._exit(code if isinstance(code, int) else 1)
  sys.exit(status)


def _parse(argv: list[str]) -> list[str]:
  """Reads the flags; a mistake in them is one line too."""
  try:
    return FLAGS(argv)
  except flags.Error as e:
    sys.exit(f'run_experiment: {e}')


def _run() -> int:
  """Runs what the flags say; the exit status."""
  if FLAGS.doctor:
    from tff_partial.runtime import doctor

    root = os.path.dirname(os.path.abspath(__file__))
    requirements = os.path.join(root, 'requirements.txt')
    return 0 if doctor.report(requirements, FLAGS.output_dir) else 1
  if (FLAGS.export_client is None) != (FLAGS.export_dir is None):
    raise ValueError(
        'Expected --export_client and --export_dir, found only one of them.'
    )
  if FLAGS.workers:
    worker_process.check_addresses(FLAGS.workers)
  algorithms = FLAGS.algorithm.split(',')
  splits = [FLAGS.personal]
  if FLAGS.personal is not None and not FLAGS.personal.startswith('regex:'):
    splits = FLAGS.personal.split(',')
  compared = FLAGS.seeds is not None or len(algorithms) > 1 or len(splits) > 1
  values = {
      field.name: FLAGS[field.name].value
      for field in dataclasses.fields(config_lib.Config)
  }
  values.update(algorithm=algorithms[0], personal=splits[0])
  config = config_lib.Config(**values)
  if compared:
    if FLAGS.export_client is not None:
      raise ValueError(
          'Expected one run with --export_client, found several. Export from'
          ' the folder of one: python -m tasks.export_client --help.'
      )
    return _compare(config, algorithms, splits)
  settings = {**_choices(), **config.settings}
  with run_folder.claim(
      FLAGS.output_dir, settings, overwrite=FLAGS.overwrite
  ) as folder:
    if folder.finished:
      print(
          f'Finished before: {folder.path}\n{folder.headline}\n'
          'Use --overwrite to run it anew, or another --output_dir.'
      )
    else:
      _train_and_report(config, folder)
    if FLAGS.export_client is not None:
      _export(folder)
  return 0


def _export(folder: run_folder.RunFolder) -> None:
  """Writes a client's model, as `python -m tasks.export_client` does."""
  import tensorflow as tf

  from tff_partial.experiments import export
  from tff_partial.runtime import local

  local.remove_default_context()
  # Imported after absl has read flags, TensorFlow does not know that it is
  # eager outside of functions, and Keras could not build the model.
  with tf.__internal__.eager_context.eager_mode():
    export.export(
        str(folder.path),
        FLAGS.export_client,
        FLAGS.export_dir,
        registered=tasks.TASKS,
    )
  print(f'Exported: {FLAGS.export_dir}')


def _choices() -> dict[str, object]:
  """The settings that make a task."""
  names = ('task', 'data', 'model', 'batch_size')
  return {name: FLAGS[name].value for name in names}


def _create_task():
  """The task, which takes seconds to import."""
  from tff_partial.experiments import task as task_lib

  return task_lib.create(
      FLAGS.task,
      FLAGS.data,
      registered=tasks.TASKS,
      model=FLAGS.model,
      batch_size=FLAGS.batch_size,
  )


def _compare(
    config: config_lib.Config, algorithms: list[str], splits: list[str]
) -> int:
  """Runs all combinations; the exit status."""
  seeds = [FLAGS.seed] if FLAGS.seeds is None else FLAGS.seeds
  try:
    seeds = [int(seed) for seed in seeds]
  except ValueError as e:
    raise ValueError(
        f'Expected --seeds like 0,1,2, found {",".join(seeds)!r}.'
    ) from e
  todo = combinations.combinations(
      config,
      algorithms=algorithms,
      splits=splits,
      seeds=seeds,
      equal_steps=FLAGS.equal_steps,
  )
  settings = {
      **_choices(),
      **config.settings,
      'algorithm': 'several',
      'personal': 'several',
      'seed': 'several',
  }
  with run_folder.claim(
      FLAGS.output_dir, settings, overwrite=FLAGS.overwrite
  ) as folder:
    from tff_partial.experiments import compare  # Takes seconds to import.

    failures = compare.run(
        _create_task(),
        _choices(),
        todo,
        str(folder.path),
        worker_fn=lambda: _worker(folder),
    )
    print(f'Comparison: {folder.path / "comparison.html"}')
  if failures:
    print(
        f'run_experiment: {len(failures)} of {len(todo)} runs failed:'
        f' {", ".join(failures)}. The same command tries them again.',
        file=sys.stderr,
    )
  return 1 if failures else 0


def _train_and_report(
    config: config_lib.Config, folder: run_folder.RunFolder
) -> None:
  # Flags and folder are checked before this, which takes seconds to import.
  from tff_partial.experiments import run as experiment

  with _worker(folder) as sharding:
    task = _create_task()
    print(experiment.describe(task, config, str(folder.path)), flush=True)
    experiment.run(task, config, str(folder.path), sharding=sharding)
  print(folder.headline)
  print(f'Report: {folder.path / run_folder.REPORT_PAGE}')


@contextlib.contextmanager
def _worker(folder: run_folder.RunFolder):
  """Where computations run, and how cohorts are cut for that."""
  from tff_partial.runtime import dispatcher as dispatcher_lib
  from tff_partial.runtime import local
  from tff_partial.runtime import remote
  from tff_partial.runtime import worker_process
  from tff_partial.training import sharded_round

  with contextlib.ExitStack() as stack:
    workers: Sequence[remote.RemoteWorker] = ()
    clients_per_shard = FLAGS.clients_per_shard
    if FLAGS.workers:
      workers = stack.enter_context(remote.connect(FLAGS.workers))
      clients_per_shard = clients_per_shard or -(-FLAGS.clients_per_round // 8)
    else:
      # No more than there are, so that cores without a client help the others.
      at_once = FLAGS.max_concurrent_clients or min(
          worker_process.usable_cores(),
          clients_per_shard or FLAGS.clients_per_round,
      )
      stack.enter_context(
          local.local_worker(
              max_concurrent_clients=at_once,
              log_file=str(folder.path / 'worker.log'),
          )
      )
    dispatcher = stack.enter_context(dispatcher_lib.Dispatcher(workers))
    yield sharded_round.Sharding(dispatcher, clients_per_shard)


if __name__ == '__main__':
  app.run(main, flags_parser=_parse)
