# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Exports one client's model of a finished run, for use without this package.

The export is a folder:

  * `saved_model/`: the client's whole model for TensorFlow;
  * `model.keras`, `model_keras3.h5`: the same for Keras 2.14 and for Keras 3,
    if the model can be made of Keras's own layers;
  * `model.tflite`: the same for TensorFlow Lite, if it can convert it;
  * `personal.safetensors`: the personal variables by path, which turn the
    shared model into this client's;
  * `example.py`, and files that it needs such as a vocabulary, if the task has
    them: predicts from what people have, with TensorFlow alone;
  * `export.json`: whose model it is, what its inputs are, how to load each
    file, and why one is missing.
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
from tff_partial.experiments import finished_run
from tff_partial.experiments import parts
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run_folder
from tff_partial.experiments import task as task_lib
from tff_partial.experiments import usage as usage_lib
from tff_partial.experiments.exports import export_forms
from tff_partial.experiments.exports import reported_model
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import methods
from tff_partial.learning import partial_model
from tff_partial.learning import weights
from tff_partial.reporting import formatting
from tff_partial.runtime import runtimes

EXAMPLE = 'example.py'
PERSONAL, DESCRIPTION = 'personal.safetensors', 'export.json'


def export(
    run: str,
    client: Optional[str],
    export_dir: str,
    *,
    model: str = reported_model.STORED,
    task: Optional[task_lib.Task] = None,
    registered: Optional[Mapping[str, str]] = None,
    trusted: Optional[str] = None,
) -> Mapping[str, str]:
  """Writes a client's model, all of it or nothing.

  Args:
    run: The folder of a run. If it is not finished, the models are those of
      its last checkpoint, and `export.json` says so.
    client: The client. `None` exports the shared variables with the initial
      personal ones.
    export_dir: The folder to write. It must be missing or empty.
    model: What the report calls the client's model: 'personalized', which the
      run has stored, 'finetuned', or 'gated', what the gate decided for the
      client. The last two are computed in this thread's TFF context.
    task: The run's task. `None` creates it from the data that the run was
      given.
    registered: References to tasks by the names that users know, such as
      `tasks.TASKS`; needed to create such a task.
    trusted: The run's task, if it is to be created and is not registered: the
      program that it names is run.

  Returns:
    Why a file could not be written, by its name.

  Raises:
    errors.MissingFileError: If there is no run.
    errors.DataError: If the run has no checkpoint yet, or its files are
      damaged.
    errors.SettingsError: If the client has no model of its own, saying what it
      has instead, if the run has no such `model`, or if `export_dir` is not
      empty.
    OSError: If a file cannot be written.
  """
  run, export_dir = os.path.expanduser(run), os.path.expanduser(export_dir)
  settings = finished_run.read_settings(run)
  _check_folder(export_dir)
  if task is None:
    task = finished_run.create_task(settings, registered or {}, trusted)
  # The data may have been imported again since.
  run_folder.check_texts(run, task.kept)
  config = finished_run.config_of(settings)
  reported_model.check(model, config)
  values, rounds = None, None
  if not (pathlib.Path(run) / run_folder.WEIGHTS).exists():
    reported_model.check_finished(model, run)
    with runtimes.start():
      values, rounds = checkpoint.load(run, task)
  finished = finished_run.FinishedRun(
      run, parts.build_model_fn(task.model_fn, config), values
  )
  if client is not None:
    _check_client(finished, client, task, config.method)
  elif model != reported_model.STORED:
    raise errors.SettingsError(
        f'Expected `client` with `model` {model!r}, found none. Leave out'
        ' `model` to export the shared model.'
    )
  filled, tested_as = _fill(finished, run, client, model, task, config)
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
      **tested_as,
      'not_included': []
      if client is None
      else finished_run.not_included(config, model),
  }
  with files.new_folder(export_dir) as folder:
    return write_folder(folder, filled, task.usage, description)


def say(missing: Mapping[str, str], export_dir: str) -> None:
  """Prints what `export` has done, for commands."""
  path = pathlib.Path(export_dir).expanduser() / DESCRIPTION
  found = json.loads(path.read_text(encoding='utf-8'))
  whose = f' of {found["client"]}' if found['client'] is not None else ''
  chosen = f', {found["gate_chose"]}' if 'gate_chose' in found else ''
  model = formatting.words(found['tested_as'] + chosen)
  print(f'Exported: {export_dir} (the {model} model{whose})')
  for name, reason in missing.items():
    print(f'Without {name}: {reason}')


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
  without = 'python -m tasks.export_client without --client exports'
  if method.no_client_export is not None:
    raise errors.SettingsError(f'{method.no_client_export} {without} that.')
  if client in run:
    return
  for clients in (task.train, task.test):
    if client in clients.client_ids:
      raise errors.SettingsError(
          f'Expected a client that took part in training, found {client!r},'
          ' which never did and has the shared model with initial personal'
          f' variables. {without} that model.'
      )
  run.model(client)  # Raises an error that names some clients.


def _fill(
    finished: finished_run.FinishedRun,
    run: str,
    client: Optional[str],
    model: str,
    task: task_lib.Task,
    config: config_lib.Config,
) -> tuple[partial_model.PartialModel, Mapping[str, str]]:
  """The model with its values, and what the run's report calls it."""
  filled = finished.model(client)
  if client is None or model == reported_model.STORED:
    return filled, {'tested_as': _tested_as(client, config)}
  reported = reported_model.compute(
      model,
      plan_lib.build(task, config),
      pathlib.Path(run),
      client,
      tf.nest.map_structure(lambda v: v.numpy(), filled.values('shared')),
  )
  # Models in graphs, which the plan has made, invalidate earlier ones. Layers
  # without names get the same ones as in the run.
  tf.keras.backend.reset_uids()
  filled = parts.build_model_fn(task.model_fn, config)()
  filled.assign(reported.shared, reported.personal)
  if model == reported_model.GATED:
    return filled, {'tested_as': model, 'gate_chose': reported.name}
  return filled, {'tested_as': reported.name}


def _tested_as(client: Optional[str], config: config_lib.Config) -> str:
  """What the run's report calls this model."""
  if client is None and config.method.personalizes:
    return 'shared'
  return config.method.candidate


def write_folder(
    folder: pathlib.Path,
    model: partial_model.PartialModel,
    usage: Optional[usage_lib.Usage],
    description: Mapping[str, Any],
) -> Mapping[str, str]:
  """Writes a model with what is said about it.

  Args:
    folder: An empty folder.
    model: The model, with the values to export.
    usage: How people use it, if that is known.
    description: What else `export.json` says.

  Returns:
    Why a file could not be written, by its name.

  Raises:
    OSError: If a file cannot be written.
  """
  forms = export_forms.write(folder, model, usage)
  weights.save(
      folder / PERSONAL,
      [v for v in model.variables if v.personal],
      tff.learning.models.ModelWeights([], []),
      tf.nest.map_structure(lambda v: v.numpy(), model.personal),
  )
  forms.files[PERSONAL] = (
      'arrays by variable path; assigned to the variables at these paths'
      ' (tff_partial.learning.weights.fill), they turn the shared model into'
      " this client's"
  )
  description = {
      **description,
      'input': {
          name: f'{spec.dtype.name}{spec.shape}'
          for name, spec in export_forms.inputs(model).items()
      },
      'input_is': "'x' of a batch, as the task's prepare_test makes it",
      **(_describe(usage) if usage is not None else {}),
      'files': forms.files,
      'missing': forms.missing,
  }
  if usage is not None:
    texts = {**usage.files, EXAMPLE: usage.example}
    for name, text in texts.items():
      if text:
        files.replace_text(folder / name, text)
  files.replace_text(
      folder / DESCRIPTION,
      json.dumps(description, ensure_ascii=False, indent=2) + '\n',
  )
  return forms.missing


def _describe(usage: usage_lib.Usage) -> Mapping[str, Any]:
  """How inputs are prepared and what outputs mean, for `export.json`."""
  return {
      'raw_input': {
          name: f'{spec.dtype.name}{spec.shape}'
          for name, spec in usage.raw.items()
      },
      'raw_input_is': usage.inputs,
      'output_is': usage.outputs,
      'classes': list(usage.classes),
  }
