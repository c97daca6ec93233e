# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Values as lists of arrays, and lists that are not what was asked for."""

import collections

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.runtime import arrays

_WEIGHTS = tff.types.to_type(
    tff.learning.models.ModelWeights(
        [tff.TensorType(np.float32, [2])], [np.int32]
    )
)
_CLIENTS = tff.FederatedType(_WEIGHTS, tff.CLIENTS)
_SEQUENCE = tff.SequenceType(np.int64)


def weights(a, b):
  return tff.learning.models.ModelWeights(
      [np.array(a, np.float32)], [np.int32(b)]
  )


class ArraysTest(parameterized.TestCase):

  def test_there_and_back(self):
    value = [weights([1, 2], 3), weights([4, 5], 6)]
    sent = arrays.flatten(value, _CLIENTS)
    self.assertLen(sent, 4)
    found = arrays.unflatten(sent, _CLIENTS, num_clients=2)
    tf.nest.map_structure(np.testing.assert_array_equal, found, value)
    self.assertIsInstance(found[0], tff.learning.models.ModelWeights)
    self.assertIs(type(found[1].non_trainable[0]), np.int32)

  def test_structures_without_arrays(self):
    nothing = tff.FederatedType((), tff.CLIENTS)
    self.assertEmpty(arrays.flatten([(), ()], nothing))
    self.assertLen(arrays.unflatten([], nothing, num_clients=2), 2)

  def test_at_server(self):
    at_server = tff.FederatedType(_WEIGHTS, tff.SERVER)
    sent = arrays.flatten(weights([1, 2], 3), at_server)
    found = arrays.unflatten(sent, at_server)
    np.testing.assert_array_equal(found.trainable[0], [1, 2])

  def test_order_is_that_of_the_type(self):
    type_spec = tff.types.to_type(
        collections.OrderedDict(b=np.int32, a=np.float32)
    )
    sent = arrays.flatten(collections.OrderedDict(b=1, a=2.5), type_spec)
    self.assertEqual([a.dtype for a in sent], [np.int32, np.float32])

  @parameterized.named_parameters(
      ('too_few', [np.zeros(2, np.float32)], 'none'),
      (
          'too_many',
          [np.zeros(2, np.float32), np.array(1, np.int32), np.zeros(1)],
          '3 of them',
      ),
      (
          'other_shape',
          [np.zeros(3, np.float32), np.array(1, np.int32)],
          r'float32\[3\]',
      ),
      (
          'other_dtype',
          [np.zeros(2, np.float64), np.array(1, np.int32)],
          'float64',
      ),
      ('objects', [np.array([print] * 2), np.array(1, np.int32)], 'object'),
      ('no_array', ['text', np.array(1, np.int32)], 'found str'),
      ('no_list', 5, 'found int'),
  )
  def test_something_else_is_refused(self, sent, found):
    with self.assertRaisesRegex(errors.WorkerError, f'Expected .*{found}'):
      arrays.unflatten(sent, _WEIGHTS)

  def test_a_program_is_read_only_where_it_may_be(self):
    [sent] = arrays.flatten(tf.data.Dataset.range(3), _SEQUENCE)
    found = arrays.unflatten([sent], _SEQUENCE, allow_programs=True)
    self.assertEqual([int(x) for x in found], [0, 1, 2])
    with self.assertRaisesRegex(errors.WorkerError, 'found sequence'):
      arrays.unflatten([sent], _SEQUENCE)
    # Nor is it taken for a text.
    with self.assertRaisesRegex(errors.WorkerError, 'found sequence'):
      arrays.unflatten([sent], tff.TensorType(np.str_))

  def test_texts(self):
    texts = tff.TensorType(np.str_, [None])
    value = np.array([b'a', b'h\xc3\xa9'], object)
    found = arrays.unflatten(arrays.flatten(value, texts), texts)
    np.testing.assert_array_equal(found, value)

  def test_damaged_message(self):
    with self.assertRaises(errors.WorkerError):
      arrays.unflatten([np.full(5, 255, np.uint8)], tff.TensorType(np.str_))


if __name__ == '__main__':
  absltest.main()
