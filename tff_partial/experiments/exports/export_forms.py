# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The forms in which a model is exported: for TensorFlow, Keras and TFLite.

Only TensorFlow's SavedModel can hold every model. The others are written where
they can be loaded again without the code that made the model; where they
cannot, the reason is kept.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import dataclasses
import json
import os
import pathlib
import re
from typing import Any, Optional
import warnings

import h5py
import tensorflow as tf
import tree

from tff_partial.experiments import usage as usage_lib
from tff_partial.learning import keras_layers
from tff_partial.learning import partial_model
from tff_partial.learning import stock_layers

SAVED_MODEL, TFLITE = 'saved_model', 'model.tflite'
KERAS, KERAS3 = 'model.keras', 'model_keras3.h5'
RAW = 'raw'
_SIGNATURE = 'serving_default'
_BUILTIN, _SELECT = 'TFLITE_BUILTINS', 'SELECT_TF_OPS'
_NESTED = ('Functional', 'Sequential')
# Keras 3 has no layers for TensorFlow's operations.
_NOT_IN_KERAS3 = ('TFOpLambda', 'SlicingOpLambda', 'ClassMethod')


@dataclasses.dataclass
class Forms:
  """What has been written.

  Attributes:
    files: How to load each file, by its name.
    missing: Why a file was not written, by its name.
  """

  files: dict[str, str] = dataclasses.field(default_factory=dict)
  missing: dict[str, str] = dataclasses.field(default_factory=dict)


def write(
    folder: pathlib.Path,
    model: partial_model.PartialModel,
    usage: Optional[usage_lib.Usage] = None,
) -> Forms:
  """Writes a model in every form that it can have.

  Args:
    folder: An empty folder.
    model: The model, with the values to export.
    usage: What people have and how it is prepared, if that is known.

  Raises:
    OSError: If a file cannot be written.
  """
  forms = Forms()
  write_keras(folder, model.to_keras(), forms)
  _write_saved_model(folder / SAVED_MODEL, model, usage)
  forms.files[SAVED_MODEL] = (
      f'tf.saved_model.load in TensorFlow 2; signature {_SIGNATURE}'
  )
  if usage is not None:
    forms.files[SAVED_MODEL] += f', or {RAW}, which prepares the inputs first'
  try:
    content, operations = to_tflite(folder / SAVED_MODEL)
  except Exception as e:  # pylint: disable=broad-exception-caught
    # The converter's kinds of errors are not documented.
    forms.missing[TFLITE] = f'TensorFlow Lite cannot convert it: {_line(e)}'
  else:
    (folder / TFLITE).write_bytes(content)
    needs = '' if operations == _BUILTIN else ', with the Flex delegate'
    forms.files[TFLITE] = (
        f'tf.lite.Interpreter{needs}; signature {_SIGNATURE}; operations'
        f' {operations}'
    )
  return forms


def to_tflite(saved_model: pathlib.Path) -> tuple[bytes, str]:
  """Converts a model for TensorFlow Lite.

  Its signature `serving_default` takes the inputs by name (`inputs`) and
  returns the outputs by name.

  Args:
    saved_model: The folder of a SavedModel with this signature.

  Returns:
    The content of a file, and the operations in it: 'TFLITE_BUILTINS', or
    'SELECT_TF_OPS' if it also needs some of TensorFlow's.

  Raises:
    Exception: What the converter raises for models that it cannot convert.
  """
  with _quiet():
    try:
      only = [tf.lite.OpsSet.TFLITE_BUILTINS]
      return _convert(saved_model, only), _BUILTIN
    except Exception:  # pylint: disable=broad-exception-caught
      both = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
      return _convert(saved_model, both), _SELECT


def inputs(model: partial_model.PartialModel) -> Mapping[str, tf.TensorSpec]:
  """The model's inputs: 'x', or the keys of a mapping, or 'x0', 'x1', ..."""
  return _by_name(model.input_spec['x'], 'x')


def _by_name(structure: Any, prefix: str) -> dict[str, Any]:
  """The leaves of a structure by names that are identifiers."""
  named = {}
  for path, leaf in tree.flatten_with_path(structure):
    name = re.sub(r'\W', '_', '_'.join(map(str, path)))
    named[name if name[:1].isalpha() else prefix + name] = leaf
  return named


def _signature(
    model: partial_model.PartialModel,
) -> Callable[..., Mapping[str, tf.Tensor]]:
  """The traced function from inputs by name to outputs by name."""
  spec, specs = model.input_spec['x'], inputs(model)

  def to_x(**values):
    return tree.unflatten_as(spec, [values[name] for name in specs])

  return _trace(model, to_x, specs)


def _raw_signature(
    model: partial_model.PartialModel, usage: usage_lib.Usage
) -> Callable[..., Mapping[str, tf.Tensor]]:
  """The signature that takes what people have, such as a sentence."""
  return _trace(model, usage.prepare_fn, usage.raw)


def _trace(
    model: partial_model.PartialModel,
    to_x_fn: Callable[..., Any],
    specs: Mapping[str, tf.TensorSpec],
) -> Callable[..., Mapping[str, tf.Tensor]]:
  keras_model = model.to_keras()

  def predict(**values):
    outputs = keras_layers.call(keras_model, to_x_fn(**values), training=False)
    return _by_name(outputs, 'outputs')

  return tf.function(predict, autograph=False).get_concrete_function(
      **{
          name: tf.TensorSpec(spec.shape, spec.dtype, name)
          for name, spec in specs.items()
      }
  )


def _convert(saved_model: pathlib.Path, operations: Any) -> bytes:
  converter = tf.lite.TFLiteConverter.from_saved_model(
      str(saved_model), [_SIGNATURE]
  )
  converter.target_spec.supported_ops = operations
  if len(operations) > 1:
    # TensorFlow Lite has no lists of tensors, which recurrent layers have.
    converter._experimental_lower_tensor_list_ops = False
  content = converter.convert()
  # Fails if an operation is missing.
  tf.lite.Interpreter(model_content=content).get_signature_runner(_SIGNATURE)
  return content


def _write_saved_model(
    path: pathlib.Path,
    model: partial_model.PartialModel,
    usage: Optional[usage_lib.Usage],
) -> None:
  """Writes the traced signatures, and nothing of Keras."""
  module, keras_model = tf.Module(), model.to_keras()
  module.parts = [
      *keras_model.variables,
      *(
          layer.lookup_table
          for layer in keras_layers.inside(keras_model)
          if getattr(layer, 'lookup_table', None) is not None
      ),
  ]
  signatures = {_SIGNATURE: _signature(model)}
  if usage is not None:
    signatures[RAW] = _raw_signature(model, usage)
  try:
    tf.saved_model.save(module, str(path), signatures)
  except tf.errors.OpError as e:
    raise OSError(f'Cannot write {path}: {_line(e)}') from e


def write_keras(
    folder: pathlib.Path, model: tf.keras.Model, forms: Forms
) -> None:
  """Writes the two forms for Keras, if its own layers suffice.

  Args:
    folder: Where to write.
    model: The model, with the values to export.
    forms: Gets what was written, or why it was not.

  Raises:
    OSError: If a file cannot be written.
  """
  reason = None
  try:
    model = stock_layers.replace(model)
    config = stock_layers.config_of(model)
    foreign = stock_layers.foreign(config)
    if foreign:
      reason = f'Keras does not have: {", ".join(foreign)}'
    elif 'layers' not in config:
      reason = 'Keras does not have the class of the model'
  except (NotImplementedError, TypeError, ValueError) as e:
    reason = f'Keras cannot describe the model: {_line(e)}'
  if reason is not None:
    forms.missing.update({KERAS: reason, KERAS3: reason})
    return
  model.save(folder / KERAS)
  forms.files[KERAS] = (
      'tf.keras.models.load_model in Keras 2.14 (TensorFlow 2.14), not in'
      f' Keras 3, for which there is {KERAS3}'
  )
  operations = [
      layer['class_name']
      for layer in _layers(config)
      if layer['class_name'] in _NOT_IN_KERAS3
  ]
  if operations:
    forms.missing[KERAS3] = (
        'Keras 3 does not have: '
        + ', '.join(sorted(set(operations)))
        + "; use Keras's layers in place of TensorFlow's operations"
    )
    return
  try:
    # Keras warns that the format is old.
    with _quiet(), warnings.catch_warnings(action='ignore'):
      model.save(folder / KERAS3, save_format='h5')
  except ValueError as e:  # Such as two variables of one name.
    (folder / KERAS3).unlink(missing_ok=True)
    forms.missing[KERAS3] = f'Keras cannot write it: {_line(e)}'
    return
  with h5py.File(folder / KERAS3, 'r+') as file:
    config = json.loads(file.attrs['model_config'])
    _translate(config['config'])
    file.attrs['model_config'] = json.dumps(config)
  forms.files[KERAS3] = (
      'keras.models.load_model with compile=False in Keras 3, any backend'
  )


def _inner(config: Mapping[str, Any]) -> list[dict[str, Any]]:
  """The configurations of a model's layers, or of those that a layer wraps."""
  wrapped = [config[k] for k in ('layer', 'backward_layer') if config.get(k)]
  return [*config.get('layers', ()), *wrapped]


def _layers(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
  """Yields all layers in a configuration, at any depth."""
  for layer in _inner(config):
    yield layer
    yield from _layers(layer['config'])


def _translate(config: dict[str, Any]) -> None:
  """Changes a model's configuration to what Keras 3 expects of an old file."""
  if 'layers' in config:
    models = {
        layer['config']['name']
        for layer in config['layers']
        if layer['class_name'] in _NESTED
    }
    stock_layers.renumber(config, models, -1)
  for inner in _inner(config):
    settings = inner['config']
    settings.pop('time_major', None)  # Keras 3 does not know it.
    if isinstance(settings.get('dtype'), dict):  # A policy.
      settings['dtype'] = settings['dtype']['config']['name']
    _translate(settings)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Hides warnings, and what TensorFlow's converter writes from C++."""
  logger = tf.get_logger()
  level, kept = logger.level, os.dup(2)
  logger.setLevel('ERROR')
  with open(os.devnull, 'wb') as null:
    os.dup2(null.fileno(), 2)
  try:
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
    logger.setLevel(level)


def _line(error: BaseException) -> str:
  """The first line of an error that has many."""
  lines = str(error).strip().splitlines() or [type(error).__name__]
  return lines[0][:200]
