# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The examples of malicious clients, and those that show their success."""

import collections

from absl.testing import absltest
import numpy as np

from tests.helpers import toy
from tff_partial import errors
from tff_partial.learning import attacks

LABELS = np.array([0, 2, 1, 0, 1], np.int32)


def pictures(shape=(4, 5)):
  x = np.tile(np.arange(20, dtype=np.float32).reshape(4, 5), [5, 1, 1])
  return collections.OrderedDict(x=x.reshape([5, *shape]), y=LABELS.copy())


def clients(**kwargs):
  return toy.Clients({c: pictures(**kwargs) for c in ('a', 'b')})


class AttacksTest(absltest.TestCase):

  def test_label_flip(self):
    view = attacks.malicious(clients(), 'label_flip', ['b'])
    np.testing.assert_array_equal(view.read('a')['y'], LABELS)
    np.testing.assert_array_equal(view.read('b')['y'], [1, 1, 0, 1, 0])
    np.testing.assert_array_equal(view.read('b')['x'], pictures()['x'])
    wanted = attacks.wanted(clients(), 'label_flip')
    np.testing.assert_array_equal(wanted.read('a')['y'], [1, 1, 0, 1, 0])

  def test_backdoor(self):
    view = attacks.malicious(clients(), 'backdoor', ['b'])
    found = view.read('b')
    np.testing.assert_array_equal(found['y'], [0, 2, 0, 0, 0])
    square = [[19, 0, 19], [0, 19, 0], [19, 0, 19]]
    for i in range(5):
      expected = pictures()['x'][i]
      if i % 2 == 0:
        expected[1:, 2:] = square
      np.testing.assert_array_equal(found['x'][i], expected)
    np.testing.assert_array_equal(view.read('a')['x'], pictures()['x'])
    # The clients' own examples are as they were.
    np.testing.assert_array_equal(clients().read('b')['y'], LABELS)

  def test_success_of_a_backdoor_is_about_other_labels(self):
    wanted = attacks.wanted(clients(shape=(4, 5, 1)), 'backdoor')
    self.assertEqual(wanted.num_examples('a'), 3)
    found = wanted.read('a')
    np.testing.assert_array_equal(found['y'], [0, 0, 0])
    np.testing.assert_array_equal(
        found['x'][:, 1:, 2:, 0], [[[19, 0, 19], [0, 19, 0], [19, 0, 19]]] * 3
    )

  def test_refused(self):
    with self.assertRaisesRegex(errors.SettingsError, 'Use `attack` sign_flip'):
      attacks.malicious(toy.random_clients(2), 'label_flip', [])
    flat = toy.Clients({'a': {'x': np.zeros([5, 3]), 'y': LABELS}})
    with self.assertRaisesRegex(errors.SettingsError, 'a task of pictures'):
      attacks.malicious(flat, 'backdoor', [])


if __name__ == '__main__':
  absltest.main()
