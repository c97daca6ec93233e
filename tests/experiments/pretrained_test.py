# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading weights from files that other programs wrote."""

import os
import re
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import safetensors.numpy

from tasks.networks import resnet
from tff_partial.experiments import pretrained
from tff_partial.learning import partition


def _model(num_classes=3, with_adapters=False):
  return resnet.create_resnet8(
      (16, 16, 3), num_classes, small_stem=True, with_adapters=with_adapters
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
    model = _model(with_adapters=True)
    if name == 'weights.h5':
      model.save_weights(self.path(name))
    else:
      model.save(self.path(name))
    expected = _values(model)
    self.assert_same(
        pretrained.load(self.path(name), _variables(expected)), expected
    )

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
    model = resnet.create_resnet18(
        (32, 32, 3), 10, small_stem=False, with_adapters=False
    )
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
      ('model.keras', b'x', 'cannot be loaded'),
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
