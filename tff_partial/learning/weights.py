# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Saves the variables of a model to a file, and initializes models from it.

The file is in safetensors format and maps paths, such as `head/kernel`, to
arrays. Variables are matched by path, so that a pretrained model without
adapters can initialize one with adapters: variables without a match keep their
initial values and are listed.

A file that is saved here has a digest of its arrays, since safetensors does not
notice a damaged number. Files of other programs have none and are not checked.
"""

from collections.abc import Mapping, Sequence
import hashlib
import os
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial import files
from tff_partial.learning import partition

_DIGEST = 'blake2b'  # In the metadata of the file.


class Filled(NamedTuple):
  """The variables of a model after some were replaced.

  Attributes:
    shared: The shared variables.
    personal: The personal variables.
    missing: Paths of variables without a new value, which keep the old one.
    unused: Paths of values for which the model has no variable.
  """

  shared: tff.learning.models.ModelWeights
  personal: tff.learning.models.ModelWeights
  missing: list[str]
  unused: list[str]


def save(
    path: str | os.PathLike[str],
    variables: Sequence[partition.VariableInfo],
    shared: tff.learning.models.ModelWeights,
    personal: tff.learning.models.ModelWeights,
) -> None:
  """Writes all of a model's variables, or leaves the file as it was.

  Raises:
    OSError: If the file cannot be written.
  """
  save_by_path(path, by_path(variables, shared, personal))


def by_path(
    variables: Sequence[partition.VariableInfo],
    shared: tff.learning.models.ModelWeights,
    personal: tff.learning.models.ModelWeights,
) -> dict[str, np.ndarray]:
  """All of a model's variables by path."""
  return {
      v.path: np.asarray(value, order='C')
      for v, value in _in_order(variables, shared, personal)
  }


def save_by_path(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]
) -> None:
  """Writes arrays, or leaves the file as it was.

  Raises:
    OSError: If the file cannot be written.
  """
  try:
    with files.replace(path) as partial:
      safetensors.numpy.save_file(
          dict(arrays), partial, metadata={_DIGEST: _digest(arrays)}
      )
  except safetensors.SafetensorError as e:
    raise errors.FileError(
        f'Cannot write {os.fspath(path)}: {e}. Check that its folder is'
        ' writable and not full.'
    ) from e


def check_file(path: str | os.PathLike[str]) -> None:
  """Checks that there is a file of weights.

  Raises:
    errors.MissingFileError: If there is none.
  """
  if not os.path.isfile(path):
    raise errors.MissingFileError(
        f'Expected weights in {path}, found no such file. Correct the path, or'
        ' restore the file.'
    )


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads the arrays of a file by path.

  Raises:
    errors.MissingFileError: If there is no such file.
    errors.DataError: If it is not a safetensors file, or is damaged.
  """
  check_file(path)
  try:
    arrays = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, 'np') as f:
      digest = (f.metadata() or {}).get(_DIGEST)
  # The others are for element types that NumPy does not have.
  except (safetensors.SafetensorError, AttributeError, KeyError) as e:
    raise errors.DataError(
        f'Expected a safetensors file, found {path}, which is not one or is'
        f' damaged: {e}.'
    ) from e
  if digest not in (None, _digest(arrays)):
    raise errors.DataError(
        f'Expected the weights that were saved to {path}, found others: the'
        ' file is damaged. Restore it from a copy.'
    )
  return arrays


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
  found = hashlib.blake2b(digest_size=16)
  for path, array in sorted(arrays.items()):
    found.update(f'{path} {array.dtype} {array.shape}\n'.encode())
    found.update(np.ascontiguousarray(array).tobytes())
  return found.hexdigest()


def fill(
    values: Mapping[str, np.ndarray],
    variables: Sequence[partition.VariableInfo],
    shared: tff.learning.models.ModelWeights,
    personal: tff.learning.models.ModelWeights,
) -> Filled:
  """Replaces the variables of a model whose paths are in `values`.

  A personal copy (`copied_model.py`) that is not in `values` gets the value of
  the variable that it is a copy of.

  Args:
    values: Arrays by path.
    variables: All variables of the model.
    shared: Values of its shared variables.
    personal: Values of its personal variables.

  Raises:
    errors.DataError: If a value has another shape than its variable, or no path
      matches.
  """
  found = dict(
      (v.path, value) for v, value in _in_order(variables, shared, personal)
  )
  values = {
      path: values[original]
      for path in [*found, *values]
      for original in (path.removeprefix(partition.COPY_PREFIX), path)
      if original in values
  }
  matched = [path for path in found if path in values]
  if not matched:
    raise errors.DataError(
        'Expected weights of the same model, found no variable of it.'
        f' Variables: {", ".join(found)}. In the file: {", ".join(values)}.'
    )
  for path in matched:
    if values[path].shape != np.shape(found[path]):
      raise errors.DataError(
          f'Expected {path} of shape {list(np.shape(found[path]))}, found'
          f' {list(values[path].shape)} in the weights. Use the weights of the'
          ' same model.'
      )
    found[path] = values[path].astype(np.asarray(found[path]).dtype)

  def group(personal: bool) -> tff.learning.models.ModelWeights:
    members = [v for v in variables if v.personal == personal]
    return tff.learning.models.ModelWeights(
        [found[v.path] for v in members if v.trainable],
        [found[v.path] for v in members if not v.trainable],
    )

  return Filled(
      shared=group(False),
      personal=group(True),
      missing=[path for path in found if path not in values],
      unused=[path for path in values if path not in found],
  )


def _in_order(variables, shared, personal):
  """Pairs each variable with its value, in the order of `variables`."""
  remaining = {
      (is_personal, trainable): iter(part)
      for is_personal, weights in ((False, shared), (True, personal))
      for trainable, part in (
          (True, weights.trainable),
          (False, weights.non_trainable),
      )
  }
  return [(v, next(remaining[v.personal, v.trainable])) for v in variables]
