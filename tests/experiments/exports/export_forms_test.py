# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Models of many kinds predict the same in every form that they can have."""

import collections
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tree

from tests.helpers import keras3
from tests.helpers import toy
from tff_partial.experiments.exports import export_forms
from tff_partial.learning import adapters
from tff_partial.learning import group_norm
from tff_partial.learning import identity_layers
from tff_partial.learning import partial_model
from tff_partial.learning import partition

_L = tf.keras.layers
_RNG = np.random.default_rng(0)
VECTORS = _RNG.random([3, 4]).astype(np.float32)
WORDS = np.array([[5, 1, 2, 3], [5, 3, 0, 0], [1, 0, 0, 0]], np.int32)
IMAGES = _RNG.random([3, 6, 6, 4]).astype(np.float32)
# All forms, for models of Keras's layers that TensorFlow Lite has, too.
ALL = ('model.keras', 'model.tflite', 'model_keras3.h5', 'saved_model')
NO_KERAS = ('model.tflite', 'saved_model')
_LOAD = """
import pathlib, sys
import keras
import numpy as np
for path in pathlib.Path(sys.argv[1]).iterdir():
  x = [x for _, x in sorted(np.load(path / 'x.npz').items())]
  model = keras.models.load_model(path / 'model_keras3.h5', compile=False)
  np.save(path / 'y.npy', model(x if len(x) > 1 else x[0]))
"""


def _dense(dtype=None):
  return tf.keras.Sequential(
      [
          _L.InputLayer([4], dtype='float64' if dtype == 'float64' else None),
          _L.Dense(
              8, 'relu', dtype=dtype and tf.keras.mixed_precision.Policy(dtype)
          ),
          _L.Dense(3, dtype=dtype and tf.keras.mixed_precision.Policy(dtype)),
      ]
  )


def _recurrent(layer):
  inputs = tf.keras.Input([4], dtype=tf.int32)
  x = _L.Embedding(8, 4, mask_zero=True)(inputs)
  return tf.keras.Model(inputs, _L.Dense(3)(layer(x)))


def _text():
  inputs = tf.keras.Input([], dtype=tf.string)
  x = _L.TextVectorization(vocabulary=['a', 'b'], output_sequence_length=3)(
      inputs
  )
  x = _L.GlobalAveragePooling1D()(_L.Embedding(4, 4)(x))
  return tf.keras.Model(inputs, _L.Dense(3)(x))


def _two_inputs():
  first, second = tf.keras.Input([4]), tf.keras.Input([4], dtype=tf.int32)
  x = _L.Concatenate()([first, _L.Flatten()(_L.Embedding(8, 2)(second))])
  return tf.keras.Model([first, second], _L.Dense(3)(x))


def _images():
  inputs = tf.keras.Input([6, 6, 4])
  x = identity_layers.InputNorm(name='input_norm')(inputs)
  x = adapters.ConvAdapter(2, name='adapter')(x)
  x = group_norm.GroupNorm(2, epsilon=1e-5, name='norm')(x)
  x = _L.BatchNormalization()(_L.Conv2D(8, 3)(x))
  x = adapters.BottleneckAdapter(3, name='bottleneck')(
      _L.GlobalAveragePooling2D()(x)
  )
  x = identity_layers.FeatureBias(name='feature_bias')(x)
  return tf.keras.Model(inputs, _L.Dense(3, name='head')(x))


class _Subclass(tf.keras.Model):

  def __init__(self):
    super().__init__()
    self.head = _L.Dense(3)
    self(tf.zeros([1, 4]))

  def call(self, inputs):
    return self.head(inputs)


class _OwnLayers(_Subclass):
  """A subclass with a layer of this package, and one with a condition."""

  def __init__(self):
    super(_Subclass, self).__init__()
    self.adapter = adapters.BottleneckAdapter(3)
    self.gate = _Gate()
    self.head = _L.Dense(3)
    self(tf.zeros([1, 4]))

  def call(self, inputs):
    return self.head(self.gate(self.adapter(inputs)))


class _Gate(_L.Layer):

  def call(self, inputs):
    if tf.reduce_sum(inputs) > 0:
      return 2 * inputs
    return inputs


def _same_names():
  """HDF5 does not take two variables of one name."""
  block = lambda name: tf.keras.Sequential(
      [_L.InputLayer([4]), _L.Dense(4, name='a')], name=name
  )
  both = tf.keras.Sequential([_L.InputLayer([4]), block('p'), block('q')])
  return tf.keras.Sequential([_L.InputLayer([4]), both])


def _operation():
  inputs = tf.keras.Input([4])
  return tf.keras.Model(inputs, _L.Dense(3)(tf.sin(inputs) + inputs))


def _lambda():
  return tf.keras.Sequential(
      [_L.InputLayer([4]), _L.Lambda(lambda x: 2 * x), _L.Dense(3)]
  )


_MODELS = (
    ('dense', _dense, VECTORS, ALL),
    (
        'gru',
        lambda: _recurrent(_L.GRU(4, dropout=0.3, recurrent_dropout=0.3)),
        WORDS,
        ALL,
    ),
    ('both', lambda: _recurrent(_L.Bidirectional(_L.LSTM(4))), WORDS, ALL),
    ('float64', lambda: _dense('float64'), VECTORS.astype(np.float64), ALL),
    ('float16', lambda: _dense('mixed_float16'), VECTORS, ALL),
    ('tuple', _two_inputs, (VECTORS, WORDS), ALL),
    ('ours', _images, IMAGES, ALL),
    ('subclass', _Subclass, VECTORS, NO_KERAS),
    ('own_layers', _OwnLayers, VECTORS, NO_KERAS),
    ('lambda', _lambda, VECTORS, NO_KERAS),
    ('operation', _operation, VECTORS, ('model.keras', *NO_KERAS)),
    ('same_names', _same_names, VECTORS, ('model.keras', *NO_KERAS)),
)


def _model(build, x):
  """A model with random values."""
  keras_model = build()
  for i, variable in enumerate(keras_model.variables):
    values = np.random.default_rng(i).random(variable.shape)
    variable.assign(values - 0.3 * ('variance' not in variable.name))
  spec = tree.map_structure(
      lambda a: tf.TensorSpec([None, *a.shape[1:]], a.dtype), x
  )
  rule = partition.none
  if any('batch_norm' in v.name for v in keras_model.variables):
    rule = partition.matches('batch_norm')  # Shared averages are refused.
  return partial_model.PartialModel(
      keras_model,
      rule,
      loss_fn=toy.loss,
      metric_fns={'error': toy.squared_error},
      input_spec=collections.OrderedDict(x=spec, y=spec),
  )


def _tolerance(expected):
  rtol = 2e-3 if expected.dtype == np.float16 else 1e-4
  return {'rtol': rtol, 'atol': rtol}


class ExportFormsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  @parameterized.named_parameters(*_MODELS)
  def test_predicts_the_same(self, build, x, written):
    model = _model(build, x)
    forms = export_forms.write(self.folder, model)
    self.assertCountEqual(forms.files, written)
    self.assertCountEqual(forms.missing, set(ALL) - set(written))
    self.assertCountEqual(
        [path.name for path in self.folder.iterdir()], written
    )
    expected = model.outputs({'x': x}, training=False).numpy()
    self.assertGreater(np.ptp(expected), 1e-3)
    close = _tolerance(expected)
    flat = dict(zip(export_forms.inputs(model), tree.flatten(x)))
    with self.subTest('TensorFlow'):
      loaded = tf.saved_model.load(self.folder / 'saved_model')
      found = loaded.signatures['serving_default'](
          **{name: tf.constant(value) for name, value in flat.items()}
      )
      np.testing.assert_allclose(found['outputs'], expected, rtol=1e-6)
    with self.subTest('TensorFlow Lite'):
      predict = tf.lite.Interpreter(
          str(self.folder / 'model.tflite')
      ).get_signature_runner()
      np.testing.assert_allclose(predict(**flat)['outputs'], expected, **close)
    if 'model.keras' in written:
      loaded = tf.keras.models.load_model(self.folder / 'model.keras')
      np.testing.assert_allclose(loaded(x), expected, **close)

  def test_keras_3_predicts_the_same(self):
    expected = {}
    for name, build, x, written in _MODELS:
      if 'model_keras3.h5' in written:
        model = _model(build, x)
        folder = self.folder / name
        folder.mkdir()
        export_forms.write_keras(folder, model.to_keras(), export_forms.Forms())
        flat = dict(zip(export_forms.inputs(model), tree.flatten(x)))
        np.savez(folder / 'x.npz', **flat)
        expected[name] = model.outputs({'x': x}, training=False).numpy()
    self.assertNotEmpty(expected)
    keras3.run(_LOAD, self.folder)
    for name, value in expected.items():
      with self.subTest(name):
        found = np.load(self.folder / name / 'y.npy')
        np.testing.assert_allclose(found, value, **_tolerance(value))

  def test_text_in_tensorflow_alone(self):
    words = np.array([b'a b', b'b c b'])
    model = _model(_text, words)
    forms = export_forms.write(self.folder, model)
    found = tf.saved_model.load(self.folder / 'saved_model').signatures[
        'serving_default'
    ](x=tf.constant(words))
    np.testing.assert_allclose(
        found['outputs'], model.outputs({'x': words}, training=False), rtol=1e-6
    )
    # Whatever is not written has a reason.
    self.assertCountEqual([*forms.files, *forms.missing], ALL)


if __name__ == '__main__':
  absltest.main()
