# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading weights from files that other programs wrote."""

import dataclasses
import io
import json
import os
import re
import tempfile
import zipfile

from absl.testing import absltest
from absl.testing import parameterized
import h5py
import numpy as np
import safetensors.numpy
import tensorflow as tf

from tasks.networks import additions as additions_lib
from tasks.networks import resnet
from tests.helpers import keras3
from tff_partial import errors
from tff_partial.experiments import pretrained
from tff_partial.learning import partial_model
from tff_partial.learning import partition

# The same model for both versions of Keras.
_NESTED = """
L = keras.layers
inputs = keras.Input([8, 8, 3])
base = keras.Sequential(
    [L.Conv2D(4, 3, name='c1'), L.BatchNormalization(name='bn')], name='base'
)
deep = keras.Input([4])
inner = keras.Model(deep, L.Dense(4, name='deep')(deep), name='inner')
x = inner(L.GlobalAveragePooling2D()(base(inputs)))
x = L.Dropout(0.1)(L.Dense(5, name='first')(x))
x = L.LSTM(3, return_sequences=True, name='lstm')(L.Reshape([1, 5])(x))
x = L.Flatten()(L.MultiHeadAttention(2, 2, name='mha')(x, x))
model = keras.Model(inputs, L.Dense(2, name='second')(x))
for i, variable in enumerate(model.weights):
  variable.assign(np.random.default_rng(i).random(variable.shape))
"""
_KERAS3 = f"""
import sys
import keras
import numpy as np
{_NESTED}
model.save(sys.argv[1])
named = [v for v in model.variables if 'seed' not in v.path]
np.savez(
    sys.argv[2],
    **{{'_'.join(v.path.split('/')[-2:]): np.asarray(v) for v in named}},
)
"""


def _nested():
  found = {'keras': tf.keras, 'np': np}
  exec(_NESTED, found)
  return found['model']


def _described(model):
  return partial_model.PartialModel(
      model,
      partition.matches('bn/'),  # Shared averages are refused.
      loss_fn=None,
      metric_fns={'loss': None},
      input_spec=None,
  ).variables


def _model(num_classes=3, additions=additions_lib.NOTHING):
  return resnet.create_resnet8(
      (16, 16, 3), num_classes, small_stem=True, additions=additions
  )


def _values(model):
  return {
      name.replace('.', '/'): variable.numpy()
      for name, variable in model.get_weight_paths().items()
  }


def _variables(values):
  return [
      partition.VariableInfo(path, value.shape, 'float32', personal=False)
      for path, value in values.items()
  ]


def _write_archive(path, parts):
  with zipfile.ZipFile(path, 'w') as archive:
    for name, contents in parts.items():
      archive.writestr(name, contents)


def _add_layer(path, written, kind):
  """Adds a layer of the kinds with which .keras files have run programs."""
  with zipfile.ZipFile(path) as archive:
    parts = {name: archive.read(name) for name in archive.namelist()}
  config = json.loads(parts['config.json'])
  layers = config['config']['layers']
  if kind == 'lambda':  # The function is `os.system`, the input a command.
    layer = {
        'module': 'keras.layers',
        'class_name': 'Lambda',
        'config': {
            'name': 'evil',
            'function': {
                'module': 'builtins',
                'class_name': 'function',
                'config': 'system',
                'registered_name': 'system',
            },
        },
        'inbound_nodes': [[f'touch {written}', {}]],
    }
    layer['config']['function']['module'] = 'os'
  else:
    layer = {
        'class_name': 'TFOpLambda',
        'config': {'name': 'evil', 'function': 'io.write_file'},
        'inbound_nodes': [[written, {'contents': 'here I was'}]],
    }
  layers.append({**layer, 'name': 'evil'})
  parts['config.json'] = json.dumps(config).encode()
  _write_archive(path, parts)


def _replace(group, name, kind, secret, other):
  """Puts something into an HDF5 file that is not there or not that large."""
  del group[name]
  if kind == 'external':
    group.create_dataset(
        name, (3,), np.float32, external=[(secret, 0, h5py.h5f.UNLIMITED)]
    )
  elif kind == 'virtual':
    layout = h5py.VirtualLayout((3,), np.float32)
    layout[:] = h5py.VirtualSource(other, 'bias', (3,))
    group.create_virtual_dataset(name, layout)
  elif kind == 'soft':
    group[name] = h5py.SoftLink('/elsewhere')
  elif kind == 'link':
    group[name] = h5py.ExternalLink(other, 'bias')
  else:  # Four terabytes, of which the file has nothing.
    group.create_dataset(name, (10**12,), np.float32, chunks=(10**6,))


class PretrainedTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def path(self, name):
    return os.path.join(self.folder, name)

  def assert_same(self, found, expected):
    self.assertEqual(set(found), set(expected))
    for name, value in expected.items():
      np.testing.assert_array_equal(found[name], value, name)

  @parameterized.parameters('model.keras', 'model.h5', 'weights.h5')
  def test_keras_files(self, name):
    model = _model(additions=additions_lib.Additions(adapters=True))
    if name == 'weights.h5':
      model.save_weights(self.path(name))
    else:
      model.save(self.path(name))
    expected = _values(model)
    self.assert_same(
        pretrained.load(self.path(name), _variables(expected)), expected
    )

  def test_keras_file_of_a_sequential_model(self):
    model = tf.keras.Sequential(
        [
            tf.keras.layers.InputLayer([2]),
            tf.keras.layers.Dense(3, name='first'),
            tf.keras.layers.BatchNormalization(name='norm'),
            tf.keras.layers.Dense(3, name='second'),
        ]
    )
    for variable in model.variables:
      variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    model.save(self.path('model.keras'))
    expected = _values(model)
    variables = [
        dataclasses.replace(v, trainable='moving' not in v.path)
        for v in _variables(expected)
    ]
    self.assert_same(
        pretrained.load(self.path('model.keras'), variables), expected
    )

  def test_keras_3_file(self):
    keras3.run(_KERAS3, self.path('model.keras'), self.path('values.npz'))
    model = _nested()
    shapes = {v.path: v.shape for v in _described(model)}
    found = pretrained.load(self.path('model.keras'), _described(model))
    self.assertEqual({k: v.shape for k, v in found.items()}, shapes)
    values = np.load(self.path('values.npz'))
    self.assertLen(values, len(shapes))
    # In the order of each layer: kernel, bias; gamma, beta, mean, variance.
    for name, path in {
        'c1_kernel': 'base/c1/kernel',
        'bn_gamma': 'base/bn/gamma',
        'bn_moving_mean': 'base/bn/moving_mean',
        'deep_bias': 'inner/deep/bias',
        'lstm_cell_recurrent_kernel': 'lstm/cell/recurrent_kernel',
        'query_kernel': 'mha/_query_dense/kernel',
        'first_kernel': 'first/kernel',
        'second_kernel': 'second/kernel',
    }.items():
      np.testing.assert_array_equal(found[path], values[name], path)

  def test_nested_keras_2_file(self):
    model = _nested()
    model.save(self.path('model.keras'))
    self.assert_same(
        pretrained.load(self.path('model.keras'), _described(model)),
        {
            v.path: value.numpy()
            for v, value in zip(_described(model), model.variables)
        },
    )

  def test_arrays_without_a_variable_keep_their_numbers(self):
    _model().save(self.path('model.keras'))
    [head] = [v for v in _variables(_values(_model())) if v.path == 'head/bias']
    found = pretrained.load(self.path('model.keras'), [head])
    self.assertIn('head/0', found)
    self.assertIn('stem_norm/1', found)

  @parameterized.parameters('h5', 'keras', 'lambda', 'op')
  def test_no_program_in_a_file_runs(self, kind):
    written = self.path('written')
    path = self.path('model.keras')
    inputs = tf.keras.Input([2])
    outputs = tf.keras.layers.Dense(3, name='head')(inputs)
    if kind == 'h5':
      # A file of the older format with the newer one's name: Keras goes by what
      # is in it, and runs bytecode.
      program = f"open({written!r}, 'w').close()"
      outputs = tf.keras.layers.Lambda(
          eval(f'lambda x: (exec({program!r}), x)[1]')
      )(outputs)
    model = tf.keras.Model(inputs, outputs)
    if kind == 'h5':
      model.save(path, save_format='h5')
      os.remove(written)  # Written when the model was built.
    else:
      model.save(path)
    expected = _values(model)
    if kind in ('lambda', 'op'):
      _add_layer(path, written, kind)
    try:
      self.assert_same(pretrained.load(path, _variables(expected)), expected)
    except errors.DataError:
      self.assertEqual(kind, 'h5')
    self.assertFalse(os.path.exists(written))

  @parameterized.parameters('external', 'virtual', 'soft', 'link', 'huge')
  def test_hdf5_that_is_not_in_the_file_is_refused(self, kind):
    _model().save_weights(self.path('weights.h5'))
    _model().save(self.path('model.keras'))
    secret = self.path('secret')
    with open(secret, 'wb') as f:
      f.write(b'secret  ' * 100)
    with h5py.File(self.path('other.h5'), 'w') as f:
      f['bias'] = np.arange(3, dtype=np.float32)
    with h5py.File(self.path('weights.h5'), 'a') as f:
      _replace(f['head/head'], 'bias:0', kind, secret, self.path('other.h5'))
    with self.assertRaisesRegex(errors.DataError, 'not in this|link|larger'):
      pretrained.load(self.path('weights.h5'), [])
    with zipfile.ZipFile(self.path('model.keras')) as archive:
      parts = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(parts['model.weights.h5'])
    with h5py.File(weights, 'a') as f:
      dense = f['_layer_checkpoint_dependencies/dense/vars']
      _replace(dense, '1', kind, secret, self.path('other.h5'))
    parts['model.weights.h5'] = weights.getvalue()
    _write_archive(self.path('model.keras'), parts)
    with self.assertRaisesRegex(errors.DataError, 'not in this|link|larger'):
      pretrained.load(self.path('model.keras'), [])

  def test_archive_that_unpacks_to_more_than_its_size_is_refused(self):
    with zipfile.ZipFile(
        self.path('model.keras'), 'w', zipfile.ZIP_DEFLATED
    ) as archive:
      archive.writestr('config.json', b' ' * 10**7)
    with self.assertRaisesRegex(errors.DataError, 'larger than the archive'):
      pretrained.load(self.path('model.keras'), [])

  def test_safetensors_with_dots_or_slashes(self):
    expected = _values(_model())
    for separator in './':
      safetensors.numpy.save_file(
          {k.replace('/', separator): v for k, v in expected.items()},
          self.path('model.safetensors'),
      )
      self.assert_same(
          pretrained.load(self.path('model.safetensors'), _variables(expected)),
          expected,
      )

  def test_names_of_layers_with_dots(self):
    # The second is a copy, which this model does not have.
    expected = {
        name: np.float32([i])
        for i, name in enumerate(('v1.0/bias', 'personal/v1.0/bias'))
    }
    path, variables = self.path('a.safetensors'), _variables(expected)[:1]
    safetensors.numpy.save_file(expected, path)
    self.assert_same(pretrained.load(path, variables), expected)
    safetensors.numpy.save_file({'v1.0.bias': np.float32([0])}, path)
    found = pretrained.load(path, variables)
    self.assertEqual(found, {'v1.0/bias': 0})
    safetensors.numpy.save_file({**expected, 'v1.0.bias': np.ones(1)}, path)
    with self.assertRaisesRegex(errors.DataError, 'dots and slashes alone'):
      pretrained.load(path, variables)

  def test_other_shapes_are_left_out_and_listed(self):
    expected = _values(_model(num_classes=3))
    safetensors.numpy.save_file(
        _values(_model(num_classes=5)), self.path('model.safetensors')
    )
    with self.assertLogs(level='WARNING') as logs:
      found = pretrained.load(
          self.path('model.safetensors'), _variables(expected)
      )
    self.assertEqual(set(expected) - set(found), {'head/kernel', 'head/bias'})
    self.assertIn('head/bias [5], expected [3]', logs.output[0])

  def test_pytorch_resnet18(self):
    # Names and order are those of torchvision and timm.
    shapes = {'conv1.weight': (64, 3, 7, 7), 'fc.weight': (10, 512)}
    shapes['fc.bias'] = (10,)
    norms = ['bn1']
    for stage, width in enumerate((64, 128, 256, 512), start=1):
      for block in range(2):
        name = f'layer{stage}.{block}'
        before = width // 2 if stage > 1 and block == 0 else width
        shapes[f'{name}.conv1.weight'] = (width, before, 3, 3)
        shapes[f'{name}.conv2.weight'] = (width, width, 3, 3)
        norms += [f'{name}.bn1', f'{name}.bn2']
        if before != width:
          shapes[f'{name}.downsample.0.weight'] = (width, before, 1, 1)
          norms.append(f'{name}.downsample.1')
    for name in norms:
      stage = re.match(r'layer(\d)', name)
      width = 64 * 2 ** (int(stage[1]) - 1) if stage else 64
      for part in ('weight', 'bias', 'running_mean', 'running_var'):
        shapes[f'{name}.{part}'] = (width,)
    rng = np.random.default_rng(0)
    values = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    safetensors.numpy.save_file(values, self.path('resnet18.safetensors'))
    model = resnet.create_resnet18((32, 32, 3), 10, small_stem=False)
    variables = _variables(_values(model))
    found = pretrained.load(self.path('resnet18.safetensors'), variables)
    self.assertContainsSubset({v.path for v in variables}, set(found))
    unused = set(found) - {v.path for v in variables}
    self.assertLen(unused, 2 * len(norms))
    self.assertTrue(all('running_' in name for name in unused))
    np.testing.assert_array_equal(
        found['stage1_block0_conv1/kernel'][0, 2, 5, 7],
        values['layer2.0.conv1.weight'][7, 5, 0, 2],
    )
    np.testing.assert_array_equal(
        found['stage3_block0_shortcut_norm/beta'],
        values['layer4.0.downsample.1.bias'],
    )
    np.testing.assert_array_equal(
        found['head/kernel'], values['fc.weight'].transpose()
    )

  @parameterized.parameters(
      ('model.bin', b'', 'Expected a file of .safetensors, .keras, .h5, found'),
      ('model.keras', b'x', 'cannot be read'),
      ('model.h5', b'x', 'named weights'),
      ('model.safetensors', b'x', 'Expected a safetensors file'),
  )
  def test_bad_files(self, name, contents, message):
    with self.assertRaisesRegex(FileNotFoundError, 'found no such file'):
      pretrained.load(self.path(name), [])
    with open(self.path(name), 'wb') as f:
      f.write(contents)
    with self.assertRaisesRegex(ValueError, message):
      pretrained.load(self.path(name), [])

  def test_weights_without_names_are_refused(self):
    _model().save_weights(self.path('unnamed.weights.h5'))
    with self.assertRaisesRegex(ValueError, 'Save the model as .keras instead'):
      pretrained.load(self.path('unnamed.weights.h5'), [])


if __name__ == '__main__':
  absltest.main()
