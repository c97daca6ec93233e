# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The most frequent label of a client as a model."""

from absl.testing import absltest
import numpy as np

from tests.helpers import toy
from tff_partial.evaluation import client_table
from tff_partial.evaluation import yardstick


def _clients(labels):
  return toy.Clients({c: {'y': np.array(y, int)} for c, y in labels.items()})


def _add(train, test, weights=None):
  sizes = np.array([len(y) for y in test.values()])
  weight = np.array(weights or [1] * sizes.sum(), float)
  table = client_table.ClientTable(
      client_ids=tuple(test),
      train_examples=sizes,
      test_examples=sizes,
      participated=np.ones(len(sizes), bool),
      scores={'shared': {'accuracy': client_table.Scores(0 * weight, weight)}},
  )
  return yardstick.add(
      table,
      'accuracy',
      train=_clients(train),
      test=_clients(test),
      labels_fn=lambda examples: examples['y'],
      baseline='shared',
  )


class MostFrequentTest(absltest.TestCase):

  def test_classes_by_hand(self):
    # Ann's is 3; Bob's are 1 and 2, so 1; Cy's 5 is not in the test.
    table = _add(
        {'ann': [3, 1, 3], 'bob': [2, 1], 'cy': [5], 'dee': []},
        {'ann': [3, 3, 1, 0], 'bob': [2, 1], 'cy': [4], 'dee': [0]},
    )
    np.testing.assert_array_equal(
        table.values('most_frequent', 'accuracy'), [0.5, 0.5, 0, 0]
    )
    np.testing.assert_array_equal(
        table.scores['most_frequent']['accuracy'].total,
        [1, 1, 0, 0, 0, 1, 0, 0],
    )

  def test_words_by_hand(self):
    # -1 is padding or a word that is not counted, however frequent it is.
    table = _add(
        {'ann': [[7, 8, 7], [-1, -1, -1]]},
        {'ann': [[7, 7, -1], [8, 7, 9]]},
        weights=[2, 3],
    )
    np.testing.assert_array_equal(
        table.scores['most_frequent']['accuracy'].total, [2, 1]
    )
    self.assertEqual(table.values('most_frequent', 'accuracy')[0], 3 / 5)

  def test_a_client_without_training_data(self):
    table = _add({'ann': [1]}, {'ann': [1], 'new': [1]})
    np.testing.assert_array_equal(
        table.values('most_frequent', 'accuracy'), [1, 0]
    )

  def test_a_client_without_test_data(self):
    for none in ([], np.zeros([0, 3], int)):
      table = _add(
          {'ann': [1], 'one': [1]}, {'ann': [1], 'one': none}, weights=[1]
      )
      np.testing.assert_array_equal(
          table.values('most_frequent', 'accuracy'), [1, np.nan]
      )

  def test_labels_that_the_metric_does_not_count(self):
    with self.assertRaisesRegex(ValueError, 'counts, 1 in all, found 2'):
      _add({'ann': [1]}, {'ann': [1, 2]}, weights=[1, 0])


if __name__ == '__main__':
  absltest.main()
