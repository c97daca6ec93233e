# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Character recognition: sizes of splits, what each trains, bad data."""

import collections
import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tasks.emnist import task as emnist
from tasks.networks import additions as additions_lib
from tests.helpers import emnist_data
from tests.helpers import toy
from tff_partial.data import sql_writer
from tff_partial.learning import algorithms
from tff_partial.learning import local_update
from tff_partial.learning import outlines


class EmnistTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def create(self, *, model='cnn', **kwargs):
    emnist_data.write_folder(self.folder, **kwargs)
    return emnist.create_task(self.folder, model=model, batch_size=2)

  @parameterized.parameters(
      ('resnet18', 'none', 11_199_486, 0),
      ('resnet18', 'input', 11_199_486, 704),
      ('resnet18', 'output', 11_199_486, 31_806),
      ('resnet18', 'adapter', 12_599_806, 1_408_128),
      # Convolutions 1 -> 16 -> 32, dense 800 -> 128 -> 62, norms 2 (16 + 32).
      ('cnn', 'none', 144 + 4608 + 96 + 801 * 128 + 129 * 62, 0),
      ('cnn', 'input', 115_374, 144 + 2 * 16),
      ('cnn', 'output', 115_374, 129 * 62),
      ('cnn', 'norm', 115_374, 96),
      ('cnn', 'bias', 115_374 + 128, 128),
      ('cnn', 'bias+input_norm', 115_374 + 130, 130),
      # For c of 16 and 32: c * c and two norms of 2 c.
      ('cnn', 'adapter', 115_374 + 1376, 256 + 64 + 1024 + 128),
  )
  def test_sizes(self, model, split, total, personal):
    variables = outlines.describe(self.create(model=model).model_fn(split))
    self.assertEqual(sum(v.size for v in variables), total)
    self.assertEqual(sum(v.size for v in variables if v.personal), personal)

  @parameterized.parameters(
      *('input', 'output', 'adapter', 'norm', 'bias+input_norm', 'lora'),
      'regex:dense',
  )
  def test_a_phase_changes_exactly_the_variables_of_its_group(self, split):
    task = self.create()
    data = task.client_examples.value(
        task.train.read('writer_0'), np.array([0, 0], np.int32)
    )
    for group, algorithm in (
        ('personal', algorithms.finetune(toy.sgd(0.1))),
        ('shared', algorithms.fed_avg(toy.sgd(0.1))),
    ):
      # Two steps, since an adapter of zeros gives its norm no gradient at
      # first.
      model = task.model_fn(split)()
      read = lambda weights: [v.numpy() for v in weights.trainable]
      before = {'shared': read(model.shared), 'personal': read(model.personal)}
      progress = local_update.run_phases(
          model,
          algorithm.phases,
          local_update.ClientInputs(model.shared, model.personal, data),
          client_examples=task.client_examples,
      )
      self.assertEqual(int(progress[0].steps), 2)
      for name in before:
        after = read(getattr(model, name))
        changed = [
            not np.array_equal(a, b) for a, b in zip(before[name], after)
        ]
        self.assertNotEmpty(changed)
        self.assertEqual(set(changed), {name == group}, f'{group}: {name}')

  def test_resnet_trains(self):
    task = self.create(model='resnet18', clients=1)
    model = task.model_fn('output')()
    before = [v.numpy() for v in model.personal.trainable]
    [progress] = local_update.run_phases(
        model,
        algorithms.finetune(
            toy.sgd(0.1), steps=algorithms.Steps(max_steps=1)
        ).phases,
        local_update.ClientInputs(
            model.shared,
            model.personal,
            task.client_examples.value(
                task.train.read('writer_0'), np.array([0, 0], np.int32)
            ),
        ),
        client_examples=task.client_examples,
    )
    self.assertTrue(progress.finite)
    for old, new in zip(before, model.personal.trainable):
      self.assertGreater(np.abs(new - old).max(), 0)

  def test_fresh_adapters_are_the_identity_to_the_last_bit(self):
    plain = emnist.create_cnn()
    adapted = emnist.create_cnn(
        additions=additions_lib.Additions(adapters=True)
    )
    paths = adapted.get_weight_paths()
    self.assertLen(paths, len(plain.variables) + 6)
    for path, variable in plain.get_weight_paths().items():
      paths[path].assign(variable)
    images = np.random.default_rng(0).random([2, 28, 28, 1], np.float32)
    np.testing.assert_array_equal(plain(images), adapted(images))

  def test_metrics_by_hand(self):
    model = self.create().model_fn('none')()
    logits = tf.one_hot([3, 5], 62) * 100.0
    batch = {'y': tf.constant([3, 4])}
    metrics = model.metrics(batch, logits)
    np.testing.assert_array_equal(metrics['accuracy'][0], [1, 0])
    np.testing.assert_array_equal(metrics['accuracy'][1], [1, 1])
    # Minus the log-probability: 0, and 100 for the wrong one.
    np.testing.assert_allclose(metrics['loss'][0], [0, 100], atol=1e-4)
    self.assertAlmostEqual(float(model.loss(batch, logits)), 50.0, places=3)

  def test_images_are_scaled_in_the_computation(self):
    task = self.create()
    examples = task.train.read('writer_0')
    self.assertEqual(examples['x'].dtype, np.uint8)
    batch = task.client_examples.prepare_train(
        {'x': tf.constant([[[0, 255]]], tf.uint8), 'y': tf.constant([1])},
        tf.constant([0, 0]),
    )
    np.testing.assert_array_equal(batch['x'], [[[[0.0], [1.0]]]])

  def test_task(self):
    task = self.create()
    self.assertEqual(list(task.train.client_ids), ['writer_0', 'writer_1'])
    self.assertEqual((task.name, task.metric.name), ('emnist', 'accuracy'))
    self.assertFalse(task.demonstration)

  def test_unknown_split(self):
    with self.assertRaisesRegex(ValueError, "adapter.*found 'head'"):
      self.create().model_fn('head')

  def test_split_that_matches_nothing(self):
    with self.assertRaisesRegex(ValueError, 'no variable .* conv1/kernel'):
      self.create().model_fn('regex:attention')()

  def test_unknown_model(self):
    with self.assertRaisesRegex(
        ValueError, r"`model` of \['cnn', 'resnet18'\], found 'lstm'"
    ):
      self.create(model='lstm')

  def test_labels_out_of_range(self):
    with self.assertRaisesRegex(
        ValueError, "'writer_0'.*labels from 0 to 61, found 60 to 62"
    ):
      self.create(first_label=60)

  def test_images_of_another_shape(self):
    with self.assertRaisesRegex(
        ValueError, r"'writer_0' .* x: uint8\[None, 28, 28\].* uint8\[3, 8, 8\]"
    ):
      self.create(shape=(8, 8))

  def test_folder_without_clients(self):
    with self.assertRaisesRegex(
        ValueError, 'Expected clients in .*train.sqlite, found none'
    ):
      self.create(clients=0)

  def test_folder_without_pixels(self):
    for name in ('train', 'test'):
      path = os.path.join(self.folder, f'{name}.sqlite')
      features = collections.OrderedDict(text=tf.TensorSpec([], tf.string))
      with sql_writer.SqlWriter(path, features) as writer:
        writer.write('a', {'text': ['x']})
    with self.assertRaisesRegex(
        ValueError, "'a': .*feature 'pixels', found text"
    ):
      emnist.create_task(self.folder)

  def test_missing_folder(self):
    missing = pathlib.Path(self.folder, 'missing')
    with self.assertRaisesRegex(OSError, 'missing/train.sqlite.*no such file'):
      emnist.create_task(str(missing))


if __name__ == '__main__':
  absltest.main()
