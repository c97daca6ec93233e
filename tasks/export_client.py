# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""One client's model, to be used outside of this program.

  python -m tasks.export_client --run=out/experiment --client=ann \
      --export_dir=out/ann

Reads the folder of a finished run of any task, and writes

  * `model.keras`, the client's whole model for Keras;
  * `model.tflite`, the same for TensorFlow Lite, of its built-in operations
    alone, whatever the task;
  * `personal.safetensors`, the personal variables by path: what makes this
    client's model of everyone's;
  * `export.json`: whose model it is, what goes into it, how to load it.

Without `--client` it is everyone's model, that of the shared variables with the
personal ones that all start from.
"""

from collections.abc import Mapping, Sequence
import json
import os
import pathlib
import sys
from typing import Any, Optional

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

# pylint: disable=g-import-not-at-top
from absl import app  # noqa: E402
from absl import logging  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_federated as tff  # noqa: E402

import tasks
from tff_partial import errors
from tff_partial.experiments import config as config_lib  # noqa: E402
from tff_partial.experiments import finished_run  # noqa: E402
from tff_partial.experiments import parts  # noqa: E402
from tff_partial.experiments import run_folder  # noqa: E402
from tff_partial.experiments import task as task_lib  # noqa: E402
from tff_partial.learning import partial_model  # noqa: E402
from tff_partial.learning import weights  # noqa: E402
from tff_partial.runtime import local  # noqa: E402

# pylint: enable=g-import-not-at-top

KERAS, TFLITE = 'model.keras', 'model.tflite'
PERSONAL, DESCRIPTION = 'personal.safetensors', 'export.json'


def export(
    folder: str,
    client_id: Optional[str],
    export_dir: str,
    *,
    task: Optional[task_lib.Task] = None,
) -> None:
  """Writes a client's model.

  Args:
    folder: A finished run's.
    client_id: Whose; `None` is everyone's.
    export_dir: Where to; made if it is not there.
    task: The run's, if it has been created; otherwise it is, from the data that
      the run was given.

  Raises:
    OSError: If there is no run, or a file cannot be written.
    ValueError: If the client has no model of its own, saying what it has, or if
      there is an earlier export in `export_dir`.
  """
  settings = finished_run.read_settings(folder)
  if not run_folder.RunFolder(pathlib.Path(folder)).finished:
    raise errors.DataError(
        f'Expected a finished run in {folder}, found no'
        f' {run_folder.REPORT_PAGE}. The command of the run goes on with it.'
    )
  target = pathlib.Path(export_dir)
  for name in (KERAS, TFLITE, PERSONAL, DESCRIPTION):
    if (target / name).exists():
      raise errors.DataError(
          f'Expected no earlier export in {export_dir}, found {name}. Use'
          ' another --export_dir.'
      )
  task = task or task_lib.create(
      settings['task'],
      settings['data'],
      registered=tasks.TASKS,
      model=settings['model'],
      batch_size=settings['batch_size'],
  )
  config = finished_run.config_of(settings)
  model_fn = parts.build_model_fn(task.model_fn, config)
  run = finished_run.FinishedRun(folder, model_fn)
  if client_id is not None:
    _check_client(run, client_id, task, config.algorithm)
  model = run.model(client_id)
  description = {
      'client': client_id,
      'run': os.path.abspath(folder),
      'task': task.name,
      'data': task.data,
      'model': task.model,
      'algorithm': config.algorithm,
      'personal': config.split_in_words,
      'tested_as': _tested_as(client_id, config),
      'input': {
          name: f'{spec.dtype.name}{spec.shape}'
          for name, spec in _inputs(model).items()
      },
      'input_is': f'what tasks/{task.name}.py prepares of an example',
      **_how_to_load(model),
  }
  target.mkdir(parents=True, exist_ok=True)
  model.to_keras().save(target / KERAS)
  (target / TFLITE).write_bytes(to_tflite(model))
  nothing = tff.learning.models.ModelWeights([], [])
  weights.save(
      target / PERSONAL,
      [v for v in model.variables if v.personal],
      nothing,
      tf.nest.map_structure(lambda v: v.numpy(), model.personal),
  )
  (target / DESCRIPTION).write_text(
      json.dumps(description, indent=2) + '\n', encoding='utf-8'
  )


def _check_client(
    run: finished_run.FinishedRun,
    client_id: str,
    task: task_lib.Task,
    algorithm: str,
) -> None:
  """Checks that a client has a model that the run has tested as its own."""
  leave_out = 'Leave --client out to export that.'
  if algorithm == 'fed_avg':
    raise errors.DataError(
        'Expected a run that personalizes, found one of fed_avg: all clients'
        f' have the same model. {leave_out}'
    )
  if algorithm == 'fed_recon':
    raise errors.DataError(
        'Expected a run that keeps personal variables, found one of fed_recon,'
        " which makes them anew from a client's examples. Leave --client out to"
        ' export what they are made from.'
    )
  if client_id in run:
    return
  for clients in (task.train, task.test):
    if client_id in clients.client_ids:
      raise errors.DataError(
          f'Expected a client that took part in training, found {client_id!r},'
          ' which never did: its model is the shared variables with the'
          f' personal ones that all start from. {leave_out}'
      )
  run.model(client_id)  # Raises, naming clients that there are.


def _tested_as(client_id: Optional[str], config: config_lib.Config) -> str:
  """What the run's report calls this model."""
  if config.algorithm == 'fed_avg':
    return 'non_personalized'
  if client_id is None:
    return 'shared'
  return config.finetuned_model if config.trains_alone else 'personalized'


def to_tflite(model: partial_model.PartialModel) -> bytes:
  """The model for TensorFlow Lite, of its built-in operations.

  Its signature `serving_default` has inputs by name, 'x' if there is but one,
  and as outputs the model's or 'outputs'.
  """
  keras_model, single = model.to_keras(), 'x'

  def predict(**inputs):
    outputs = keras_model(
        inputs[single] if set(inputs) == {single} else inputs, training=False
    )
    return outputs if isinstance(outputs, Mapping) else {'outputs': outputs}

  signature = tf.function(predict, autograph=False).get_concrete_function(
      **{
          name: tf.TensorSpec(spec.shape, spec.dtype, name)
          for name, spec in _inputs(model).items()
      }
  )
  return tf.lite.TFLiteConverter.from_concrete_functions(
      [signature], keras_model
  ).convert()


def _inputs(model: partial_model.PartialModel) -> Mapping[str, tf.TensorSpec]:
  spec = model.input_spec['x']
  return spec if isinstance(spec, Mapping) else {'x': spec}


def _how_to_load(model: partial_model.PartialModel) -> Mapping[str, Any]:
  """What to do with each file, for `export.json`."""
  modules = {type(module).__module__ for module in model.to_keras().submodules}
  return {
      'files': {
          KERAS: 'tf.keras.models.load_model, after importing keras_layers',
          TFLITE: 'tf.lite.Interpreter; signature serving_default',
          PERSONAL: (
              'arrays by variable path: assigned to the variables of these'
              ' paths (tff_partial.learning.weights.fill) they make of'
              " everyone's"
              " model this client's"
          ),
      },
      'keras_layers': sorted(
          m for m in modules if m.startswith(('tasks.', 'tff_partial.'))
      ),
  }


def _parse(argv: Sequence[str]):
  parser = finished_run.create_parser(
      'python -m tasks.export_client',
      "Writes one client's model for Keras and TensorFlow Lite.",
  )
  parser.add_argument('--export_dir', required=True, help='where to')
  return parser.parse_args(argv[1:])


def main(args) -> int:
  logging.set_verbosity(logging.WARNING)
  local.remove_default_context()
  try:
    export(args.run, args.client, args.export_dir)
  except (ValueError, OSError) as e:
    print(f'Error: {e}', file=sys.stderr)
    return 1
  print(f'Exported: {args.export_dir}')
  return 0


if __name__ == '__main__':
  app.run(main, flags_parser=_parse)
