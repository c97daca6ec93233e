# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads the arrays of Keras 2 and Keras 3 files without building their models.

People download such files, and a model in a file is a program: Keras runs the
functions of its layers. So only the arrays are read here, and of HDF5 only what
is in the file itself: external storage, links and virtual datasets would make
weights of other files of the machine, and a dataset can claim to be larger than
memory while its file has a few bytes.
"""

from collections.abc import Iterator, Sequence
import io
import json
import os
import re
from typing import Any
import zipfile

import h5py
import numpy as np

from tff_partial import errors
from tff_partial.learning import partition

_CONFIG, _WEIGHTS = 'config.json', 'model.weights.h5'
# Where `model.weights.h5` has its layers, in Keras 2 and in Keras 3.
_LAYERS = ('_layer_checkpoint_dependencies', 'layers')
# What h5py, zipfile and json raise for damaged files, and what follows from
# values of another kind than expected.
_DAMAGED = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)


def read_h5(path: str) -> dict[str, np.ndarray]:
  """Reads the arrays of an HDF5 file of Keras by their names.

  Args:
    path: A file that `model.save` or `model.save_weights` wrote in Keras's
      older format, in which weights have names.

  Returns:
    Arrays by name, such as `head/kernel`.

  Raises:
    errors.DataError: If the file has no named weights, is damaged, or refers to
      what is not in it.
  """
  try:
    with h5py.File(path) as file:
      reader = _Reader(os.path.getsize(path))
      layers = file
      if 'model_weights' in file:
        layers = reader.child(file, 'model_weights')
      result = {}
      for layer_name in layers.attrs['layer_names']:
        layer = reader.child(layers, _text(layer_name))
        for name in layer.attrs['weight_names']:
          array = reader.array(reader.child(layer, _text(name)))
          result[_text(name).removesuffix(':0')] = array
      return result
  except _DAMAGED as e:
    raise errors.DataError(
        f'Expected a Keras file with named weights in {path}, found none or a'
        f' damaged one: {e}. Save the model as .keras instead.'
    ) from e


def read_keras(
    path: str, variables: Sequence[partition.VariableInfo]
) -> dict[str, np.ndarray]:
  """Reads the arrays of a `.keras` file for a model.

  The file has a layer's arrays by number. They are the model's variables of the
  layer with this name, in the order in which Keras saves them: first those that
  are trained. Arrays of other layers keep their numbers.

  Args:
    path: A file that `model.save` of a functional or sequential model wrote.
    variables: All variables of the model that the arrays are for.

  Returns:
    Arrays by path, such as `head/kernel`.

  Raises:
    errors.DataError: If this is no such file, or it is damaged.
  """
  try:
    size = os.path.getsize(path)
    with zipfile.ZipFile(path) as archive:
      config = json.loads(_member(archive, _CONFIG, size))['config']
      weights = io.BytesIO(_member(archive, _WEIGHTS, size))
    with h5py.File(weights) as file:
      reader = _Reader(size)
      arrays = dict(_by_layer(file, config['layers'], reader))
  except _DAMAGED as e:
    raise errors.DataError(
        f'Expected a functional or sequential Keras model in {path}, found one'
        f' that cannot be read: {e}. Save its variables by path as safetensors.'
    ) from e
  return _named(arrays, variables)


class _Reader:
  """Reads what is in an HDF5 file, and no more than its size in all."""

  def __init__(self, num_bytes: int):
    self._remaining = num_bytes

  def child(self, group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """Returns what a group has at a path, without following links."""
    for part in path.strip('/').split('/'):
      if not isinstance(group.get(part, getlink=True), h5py.HardLink):
        raise ValueError(f'{path} is missing, or a link')
      group = group[part]
    return group

  def array(self, dataset: h5py.Dataset) -> np.ndarray:
    """Reads a dataset."""
    name = dataset.name
    if dataset.external or dataset.is_virtual:
      raise ValueError(f'{name} is not in this file')
    if dataset.dtype.kind not in 'biufV':
      raise ValueError(f'{name} has the type {dataset.dtype}')
    if dataset.dtype.hasobject or dataset.nbytes > self._remaining:
      raise ValueError(f'{name} would be larger than the file')
    self._remaining -= dataset.nbytes
    return dataset[()]


def _member(archive: zipfile.ZipFile, name: str, size: int) -> bytes:
  """Reads a file of an archive that Keras has stored without compression."""
  info = archive.getinfo(name)
  if info.file_size > size:
    raise ValueError(f'{name} would be larger than the archive')
  return archive.read(info)


def _folders(layers: Any) -> Iterator[tuple[str, str]]:
  """The name of each layer, and of the folder that Keras gives it."""
  counts: dict[str, int] = {}
  for layer in layers:
    kind = _snake_case(layer['class_name'])
    number = counts.setdefault(kind, 0)
    counts[kind] += 1
    yield layer['config']['name'], f'{kind}_{number}' if number else kind


def _snake_case(name: str) -> str:
  """`GroupNorm` as `group_norm`, as Keras does it."""
  name = name.rpartition('>')[2]
  name = re.sub(r'(.)([A-Z][a-z0-9]+)', r'\1_\2', name)
  name = re.sub(r'([a-z])([A-Z])', r'\1_\2', name).lower()
  return f'private{name}' if name.startswith('_') else name


def _by_layer(
    group: h5py.Group, layers: Any, reader: _Reader, prefix: str = ''
) -> Iterator[tuple[tuple[str, int], np.ndarray]]:
  """The arrays by the path of their layer, and their number in it."""
  [top] = [name for name in _LAYERS if name in group]
  folders = reader.child(group, top)
  for layer, (name, folder) in zip(layers, _folders(layers)):
    if folder not in folders:
      continue
    child = reader.child(folders, folder)
    inner = layer['config'].get('layers')
    if isinstance(inner, list) and any(name in child for name in _LAYERS):
      yield from _by_layer(child, inner, reader, f'{prefix}{name}/')
    else:
      yield from _walk(prefix + name, child, reader)


def _walk(
    path: str, group: h5py.Group, reader: _Reader, depth: int = 0
) -> Iterator[tuple[tuple[str, int], np.ndarray]]:
  if depth > 50:  # Groups can contain themselves.
    raise ValueError(f'{path} is too deep')
  for name in group:
    child = reader.child(group, name)
    if name == 'vars':
      for number in child:
        yield (path, int(number)), reader.array(reader.child(child, number))
    else:
      yield from _walk(f'{path}/{name}', child, reader, depth + 1)


def _named(
    arrays: dict[tuple[str, int], np.ndarray],
    variables: Sequence[partition.VariableInfo],
) -> dict[str, np.ndarray]:
  """Replaces numbers by the names of a layer's variables, if it has as many."""
  names: dict[str, list[str]] = {}
  for variable in sorted(variables, key=lambda v: not v.trainable):
    layer, _, name = variable.path.rpartition('/')
    names.setdefault(layer, []).append(name)
  # Keras 3 has `query_dense` where Keras 2 has `_query_dense`.
  public = {_public(layer): layer for layer in names}
  arrays = {
      (layer if layer in names else public.get(_public(layer), layer), n): array
      for (layer, n), array in arrays.items()
  }
  counts: dict[str, int] = {}
  for layer, number in arrays:
    counts[layer] = max(counts.get(layer, 0), number + 1)
  return {
      f'{layer}/{names[layer][number]}'
      if len(names.get(layer, ())) == counts[layer]
      else f'{layer}/{number}': array
      for (layer, number), array in arrays.items()
  }


def _public(path: str) -> str:
  """A path without the underscores of private attributes."""
  return '/'.join(part.lstrip('_') for part in path.split('/'))


def _text(name: str | bytes) -> str:
  return name.decode() if isinstance(name, bytes) else name
