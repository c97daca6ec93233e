# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weights of models trained elsewhere, by this model's variable paths.

  * Keras 2 and 3: `.keras` and `.h5` files, but not `.weights.h5` files, in
    which variables have numbers in place of names. The file's model is not
    built (`keras_files.py`);
  * safetensors: paths such as `head/kernel` or `head.kernel`;
  * PyTorch's ResNet-18 in a safetensors file: paths such as
    `layer1.0.conv1.weight`, with its own order of a kernel's dimensions.

PyTorch pads a convolution with stride 2 on both sides and TensorFlow on one,
and batch norm is not group norm, so that its weights are where training starts
and not the network they were in.
"""

from collections.abc import Mapping, Sequence
import os
import re

from absl import logging
import numpy as np

from tff_partial import errors
from tff_partial.experiments import keras_files
from tff_partial.learning import partition
from tff_partial.learning import weights

_PYTORCH = re.compile(r'^layer\d\.\d\.conv\d\.weight$')
# In order; what matches none keeps its name and is reported as not used.
_FROM_PYTORCH = (
    (r'^conv1\.', 'stem_conv.'),
    (r'^bn1\.', 'stem_norm.'),
    (r'^layer1\.', 'stage0_block'),
    (r'^layer2\.', 'stage1_block'),
    (r'^layer3\.', 'stage2_block'),
    (r'^layer4\.', 'stage3_block'),
    (r'\.conv(\d)\.', r'_conv\1.'),
    (r'\.bn(\d)\.', r'_norm\1.'),
    (r'\.downsample\.0\.', '_shortcut_conv.'),
    (r'\.downsample\.1\.', '_shortcut_norm.'),
    (r'^fc\.', 'head.'),
    (r'norm(\d?)\.weight$', r'norm\1.gamma'),
    (r'norm(\d?)\.bias$', r'norm\1.beta'),
    (r'\.weight$', '.kernel'),
)


def load(
    path: str | os.PathLike[str], variables: Sequence[partition.VariableInfo]
) -> dict[str, np.ndarray]:
  """Reads weights for a model, without those of another shape.

  A classifier of other classes is the usual reason for another shape. What is
  left out is listed in the log; `weights.fill` lists the rest that did not
  match.

  Args:
    path: A `.safetensors`, `.keras` or `.h5` file.
    variables: The model's.

  Returns:
    Arrays by variable path, for `weights.fill`.

  Raises:
    OSError: If there is no such file.
    ValueError: If it has another format, or is damaged.
  """
  values = _read(os.fspath(path), variables)
  shapes = {v.path: v.shape for v in variables}
  differ = {
      name: value.shape
      for name, value in values.items()
      if shapes.get(name, value.shape) != value.shape
  }
  if differ:
    logging.warning(
        'Of %s, %d variables have other shapes than the model and are not used:'
        ' %s',
        path,
        len(differ),
        ', '.join(
            f'{name} {list(shape)}, expected {list(shapes[name])}'
            for name, shape in differ.items()
        ),
    )
  return {name: v for name, v in values.items() if name not in differ}


def _read(
    path: str, variables: Sequence[partition.VariableInfo]
) -> dict[str, np.ndarray]:
  """All arrays of a file by path, with '/' between the parts of a path."""
  weights.check_file(path)
  readers = {
      '.safetensors': lambda path: _read_safetensors(path, variables),
      '.keras': lambda path: keras_files.read_keras(path, variables),
      '.h5': keras_files.read_h5,
  }
  extension = os.path.splitext(path)[1]
  if extension not in readers:
    raise errors.DataError(
        f'Expected a file of {", ".join(readers)}, found {path}.'
    )
  return readers[extension](path)


def _read_safetensors(
    path: str, variables: Sequence[partition.VariableInfo]
) -> dict[str, np.ndarray]:
  values = weights.load(path)
  if any(_PYTORCH.match(name) for name in values):
    values = _from_pytorch(values)
  # Names of layers may have dots, which are kept in the files of runs.
  paths = {v.path.replace('.', '/'): v.path for v in variables}
  paths |= {v.path: v.path for v in variables}

  def path_of(name):
    slashed = name.replace('.', '/')
    unknown = name if '/' in name else slashed
    return paths.get(name) or paths.get(slashed) or unknown

  found = {path_of(name): value for name, value in values.items()}
  if len(found) < len(values):
    raise errors.DataError(
        f'Expected names of different variables in {path}, found some that'
        ' differ in dots and slashes alone. Rename them.'
    )
  return found


def _from_pytorch(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """PyTorch's ResNet-18 by our names and in our order of dimensions."""
  result = {}
  for name, value in values.items():
    for pattern, replacement in _FROM_PYTORCH:
      name = re.sub(pattern, replacement, name)
    if value.ndim == 4:  # [out, in, height, width] there.
      value = value.transpose(2, 3, 1, 0)
    elif value.ndim == 2:  # [out, in] there.
      value = value.transpose()
    result[name] = value
  return result
