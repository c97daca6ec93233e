# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The leaderboard's task: its network, who takes part, and what they see."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from results import leaderboard_task
from tests.helpers import paths
from tests.helpers import programs
from tff_partial.learning import outlines


class LeaderboardTaskTest(programs.FolderTest):

  def setUp(self):
    super().setUp()
    self.data = str(self.folder / 'fashion.npz')
    rng = np.random.default_rng(0)
    # The last client has no training part.
    client = np.repeat([0, 1, 2], [6, 5, 4])
    np.savez(
        self.data,
        pixels=rng.integers(0, 256, [15, 28, 28]).astype(np.uint8),
        label=np.arange(15).astype(np.uint8) % 10,
        client=client.astype(np.int16),
        split=np.where(
            (np.arange(15) % 2 == 0) & (client < 2), 'train', 'test'
        ),
    )

  @parameterized.parameters(
      # conv1 26 * 32, conv2 (25 * 32 + 1) * 64, dense (1024 + 1) * 512, head.
      ('none', 582_026, 0),
      ('input', 582_026, 832),
      ('output', 582_026, 5_130),
      # Scale, offset and kernel: 2 * 32 + 32 * 32 and 2 * 64 + 64 * 64.
      ('adapter', 582_026 + 1_088 + 4_224, 1_088 + 4_224),
      # A number for each input of the head; a scale and an offset of grey.
      ('bias', 582_026 + 512, 512),
      ('input_norm', 582_026 + 2, 2),
      # Rank 8: 1024 -> 512 -> 10.
      (
          'lora',
          582_026 + 8 * (1024 + 512 + 512 + 10),
          8 * (1024 + 2 * 512 + 10),
      ),
      ('lora_b', 582_026 + 8 * (1024 + 512 + 512 + 10), 8 * (512 + 10)),
  )
  def test_sizes(self, split, total, personal):
    task = leaderboard_task.create_task(self.data)
    variables = outlines.describe(task.model_fn(split))
    self.assertEqual(sum(v.size for v in variables), total)
    self.assertEqual(sum(v.size for v in variables if v.personal), personal)

  def test_clients_without_training_examples_are_left_out(self):
    task = leaderboard_task.create_task(self.data)
    for part, sizes in ((task.train, [3, 3]), (task.test, [3, 2])):
      self.assertEqual(part.client_ids, ('client_00', 'client_01'))
      self.assertEqual([part.num_examples(c) for c in part.client_ids], sizes)
    np.testing.assert_array_equal(task.train.read('client_00')['y'], [0, 2, 4])

  def test_initial_values_and_pixels(self):
    model = leaderboard_task.create_cnn()
    for layer, fan_in in (('conv1', 25), ('conv2', 800), ('dense', 1024)):
      for values in model.get_layer(layer).get_weights():
        limit = 1 / np.sqrt(fan_in)
        self.assertBetween(np.abs(values).max(), 0.8 * limit, limit)
    batch = {'x': np.array([[[0, 255]]], np.uint8), 'y': 0}
    prepared = leaderboard_task._prepare(batch, seed=None)['x']
    np.testing.assert_array_equal(tf.squeeze(prepared), [-1, 1])

  def test_refuses_other_archives(self):
    np.savez(
        self.data,
        pixels=np.zeros([3, 8, 8], np.uint8),
        label=[1, 2, 3],
        client=[0, 0, 0],
        split=['train', 'train', 'test'],
    )
    with self.assertRaisesRegex(ValueError, r'\[examples, 28, 28\]'):
      leaderboard_task.create_task(self.data)

  def test_runs_by_the_command(self):
    code, out, said = self.call(
        f'--task={paths.ROOT}/results/leaderboard_task.py:create_task',
        f'--data={self.data}',
        f'--output_dir={self.folder / "run"}',
        '--clients_per_round=2',
        '--pretrain_rounds=0',
        '--total_rounds=1',
        '--rounds_per_evaluation=1',
    )
    self.assertEqual((code, said), (0, []), out)
    metrics = (self.folder / 'run' / 'metrics.csv').read_text()
    self.assertIn('eval/personalized/accuracy', metrics)


if __name__ == '__main__':
  absltest.main()
