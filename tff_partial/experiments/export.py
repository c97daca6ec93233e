# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exports one client's model of a finished run, for use without this package.

The export is a folder with four files:

  * `model.keras`: the client's whole model for Keras;
  * `model.tflite`: the same for TensorFlow Lite, with built-in operations only;
  * `personal.safetensors`: the personal variables by path, which turn the
    shared model into this client's;
  * `export.json`: whose model it is, what its inputs are, how to load it.
"""

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial import files
from tff_partial.experiments import checkpoint
from tff_partial.experiments import config as config_lib
from tff_partial.experiments import finished_run
from tff_partial.experiments import methods
from tff_partial.experiments import parts
from tff_partial.experiments import run_folder
from tff_partial.experiments import task as task_lib
from tff_partial.learning import partial_model
from tff_partial.learning import weights
from tff_partial.runtime import local

KERAS, TFLITE = 'model.keras', 'model.tflite'
PERSONAL, DESCRIPTION = 'personal.safetensors', 'export.json'


def export(
    run: str,
    client: Optional[str],
    export_dir: str,
    *,
    task: Optional[task_lib.Task] = None,
    registered: Optional[Mapping[str, str]] = None,
) -> None:
  """Writes a client's model, all of it or nothing.

  Args:
    run: The folder of a run. If it is not finished, the models are those of
      its last checkpoint, and `export.json` says so.
    client: The client. `None` exports the shared variables with the initial
      personal ones.
    export_dir: The folder to write. It must be missing or empty.
    task: The run's task. `None` creates it from the data that the run was
      given.
    registered: References to tasks by the names that users know, such as
      `tasks.TASKS`; needed to create such a task.

  Raises:
    errors.MissingFileError: If there is no run.
    errors.DataError: If the run has no checkpoint yet, or its files are
      damaged.
    errors.SettingsError: If the client has no model of its own, saying what it
      has instead, or if `export_dir` is not empty.
    OSError: If a file cannot be written.
  """
  run, export_dir = os.path.expanduser(run), os.path.expanduser(export_dir)
  settings = finished_run.read_settings(run)
  _check_folder(export_dir)
  if task is None:
    task = finished_run.create_task(settings, registered or {})
  config = finished_run.config_of(settings)
  values, rounds = None, None
  if not (pathlib.Path(run) / run_folder.WEIGHTS).exists():
    with local.local_worker():
      values, rounds = checkpoint.load(run, task)
  finished = finished_run.FinishedRun(
      run, parts.build_model_fn(task.model_fn, config), values
  )
  if client is not None:
    _check_client(finished, client, task, config.method)
  model = finished.model(client)
  description = {
      'client': client,
      # Exports are handed out: no paths of this machine.
      'run': pathlib.Path(run).absolute().name,
      'task': task.name,
      'data': _name_alone(task.data, settings.get('data')),
      'model': task.model,
      'algorithm': config.algorithm,
      'unfinished_after_round': rounds,
      'personal': config.split_in_words,
      'tested_as': _tested_as(client, config),
      'not_included': _not_included(client, config),
      **_inputs_and_files(model),
  }
  with files.new_folder(export_dir) as folder:
    _write(folder, model, description)


def to_tflite(model: partial_model.PartialModel) -> bytes:
  """Converts a model for TensorFlow Lite, with built-in operations only.

  Its signature `serving_default` takes the inputs by name, or as 'x' if there
  is only one. It returns the outputs by name, or as 'outputs'.
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


def _check_folder(export_dir: str) -> None:
  """Checks early that there is nothing where the export will be written."""
  path = pathlib.Path(export_dir)
  if not path.exists():
    return
  found = sorted(os.listdir(path)) if path.is_dir() else [path.name]
  if found:
    raise errors.SettingsError(
        f'Expected no files in {export_dir} yet, found {found[0]}. Use another'
        ' `export_dir`.'
    )


def _name_alone(text: str, folder: Optional[str]) -> str:
  """Replaces a folder's absolute path in a text by its name."""
  if not folder or not os.path.isabs(os.path.expanduser(folder)):
    return text
  return text.replace(folder, pathlib.Path(folder).name)


def _check_client(
    run: finished_run.FinishedRun,
    client: str,
    task: task_lib.Task,
    method: methods.Method,
) -> None:
  """Checks that a client has a model that the run evaluated as its own."""
  leave_out = 'Leave out `client` to export'
  if method.no_client_export is not None:
    raise errors.SettingsError(f'{method.no_client_export} {leave_out} that.')
  if client in run:
    return
  for clients in (task.train, task.test):
    if client in clients.client_ids:
      raise errors.SettingsError(
          f'Expected a client that took part in training, found {client!r},'
          ' which never did and has the shared model with initial personal'
          f' variables. {leave_out} that model.'
      )
  run.model(client)  # Raises an error that names some clients.


def _tested_as(client: Optional[str], config: config_lib.Config) -> str:
  """What the run's report calls this model."""
  if client is None and config.method.personalizes:
    return 'shared'
  return config.method.candidate


def _not_included(
    client: Optional[str], config: config_lib.Config
) -> list[str]:
  """What the run did with a client's model that the export does not have."""
  if client is None or not config.method.personalizes:
    return []
  found = []
  if config.num_finetune_epochs and not config.method.trains_alone:
    found.append(
        f'the {config.num_finetune_epochs} epochs of fine-tuning after the last'
        " round: this is the report's model personalized, not finetuned"
    )
  if config.evaluation.gate:
    found.append(
        'the decision of the gate: the client may have kept the model without'
        ' personalization'
    )
  return found


def _inputs(model: partial_model.PartialModel) -> Mapping[str, tf.TensorSpec]:
  spec = model.input_spec['x']
  return spec if isinstance(spec, Mapping) else {'x': spec}


def _inputs_and_files(model: partial_model.PartialModel) -> Mapping[str, Any]:
  """What the model takes and how to load each file, for `export.json`."""
  modules = {type(module).__module__ for module in model.to_keras().submodules}
  return {
      'input': {
          name: f'{spec.dtype.name}{spec.shape}'
          for name, spec in _inputs(model).items()
      },
      'input_is': "'x' of a batch, as the task's prepare_test makes it",
      'files': {
          KERAS: 'tf.keras.models.load_model, after importing keras_layers',
          TFLITE: 'tf.lite.Interpreter; signature serving_default',
          PERSONAL: (
              'arrays by variable path; assigned to the variables at these'
              ' paths (tff_partial.learning.weights.fill), they turn the shared'
              " model into this client's"
          ),
      },
      'keras_layers': sorted(
          m for m in modules if m.startswith(('tasks.', 'tff_partial.'))
      ),
  }


def _write(
    folder: pathlib.Path,
    model: partial_model.PartialModel,
    description: Mapping[str, Any],
) -> None:
  model.to_keras().save(folder / KERAS)
  (folder / TFLITE).write_bytes(to_tflite(model))
  weights.save(
      folder / PERSONAL,
      [v for v in model.variables if v.personal],
      tff.learning.models.ModelWeights([], []),
      tf.nest.map_structure(lambda v: v.numpy(), model.personal),
  )
  (folder / DESCRIPTION).write_text(
      json.dumps(description, indent=2) + '\n', encoding='utf-8'
  )
