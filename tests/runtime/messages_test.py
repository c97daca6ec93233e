# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of messages: the same bytes as TFF's, and the same complaints."""

import collections
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import executor_pb2

from tff_partial import errors
from tff_partial.runtime import messages

_MATRIX = np.arange(6, dtype=np.float32).reshape([2, 3])
_MODEL = tff.learning.models.ModelWeights(
    trainable=[_MATRIX, np.float32(3)], non_trainable=[]
)
_MODEL_TYPE = tff.types.to_type(
    tff.learning.models.ModelWeights(
        trainable=[tff.TensorType(np.float32, [2, 3]), np.float32],
        non_trainable=[],
    )
)
_EXAMPLES_TYPE = tff.types.to_type(
    collections.OrderedDict(
        words=tff.TensorType(np.str_, [None]), label=np.int32
    )
)


def _examples(*words):
  return collections.OrderedDict(
      words=np.array(words, dtype=object), label=np.int32(len(words))
  )


_VALUES = (
    (3, tff.TensorType(np.int32)),
    (_MATRIX, tff.TensorType(np.float32, [2, 3])),
    (_MATRIX.T, tff.TensorType(np.float32, [3, 2])),
    (_MATRIX.astype('>f4'), tff.TensorType(np.float32, [2, 3])),
    (_MATRIX.astype(np.float16), tff.TensorType(np.float16, [2, 3])),
    (np.array([True, False]), tff.TensorType(np.bool_, [None])),
    (np.zeros([0, 28], np.uint8), tff.TensorType(np.uint8, [None, 28])),
    (np.array([1, 2]), tff.TensorType(np.int64, None)),
    (_MODEL, _MODEL_TYPE),
    ((), tff.StructType([])),
    ([1, (2, 3)], tff.types.to_type([np.int32, (np.int32, np.int32)])),
    (_examples('a', 'bc'), _EXAMPLES_TYPE),
    (_MODEL, tff.FederatedType(_MODEL_TYPE, tff.SERVER)),
    ([_MODEL, _MODEL], tff.FederatedType(_MODEL_TYPE, tff.CLIENTS)),
    (
        [_examples('a'), _examples()],
        tff.FederatedType(_EXAMPLES_TYPE, tff.CLIENTS),
    ),
    ([], tff.FederatedType(np.int32, tff.CLIENTS)),
    (7, tff.FederatedType(np.int32, tff.CLIENTS, all_equal=True)),
)


class MessagesTest(parameterized.TestCase):

  @parameterized.parameters(*_VALUES)
  def test_message_is_that_of_tff(self, value, type_spec):
    message = executor_pb2.Value()
    messages.write(message, value, type_spec)
    expected, _ = tff.framework.serialize_value(value, type_spec)
    self.assertNotEmpty(expected.SerializeToString())
    self.assertEqual(message, expected)

  @parameterized.parameters(*_VALUES)
  def test_value_is_that_of_tff(self, value, type_spec):
    message, _ = tff.framework.serialize_value(value, type_spec)
    if message.HasField('federated') and not message.federated.value:
      for read in (messages.read, tff.framework.deserialize_value):
        with self.assertRaisesRegex(ValueError, 'no data'):
          read(message, type_spec)
      # It is the right answer where there are no clients, and no other.
      self.assertEqual(messages.read(message, type_spec, num_clients=0), [])
      for num_clients in (None, 1):
        with self.assertRaisesRegex(ValueError, 'no data'):
          messages.read(message, type_spec, num_clients=num_clients)
      return
    expected, _ = tff.framework.deserialize_value(message, type_spec)
    self._assert_same(messages.read(message, type_spec), expected)

  def _assert_same(self, found, expected):
    self.assertIs(type(found), type(expected))
    if isinstance(expected, np.ndarray):
      self.assertEqual(found.dtype, expected.dtype)
      np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, (tff.structure.Struct, list)):
      self.assertLen(found, len(expected))
      if isinstance(expected, tff.structure.Struct):
        self.assertEqual(
            tff.structure.name_list_with_nones(found),
            tff.structure.name_list_with_nones(expected),
        )
      for part, expected_part in zip(found, expected):
        self._assert_same(part, expected_part)
    else:
      self.assertEqual(found, expected)

  def test_parts_are_found_by_name(self):
    pair = tff.types.to_type([('a', np.int32), ('b', np.int32)])
    found, expected = executor_pb2.Value(), executor_pb2.Value()
    messages.write(found, {'b': 1, 'a': 2}, pair)
    messages.write(expected, (2, 1), pair)
    self.assertEqual(found, expected)
    for other in ({'b': 1, 'c': 2}, {'a': 2, 'b': 1, 'c': 3}, (1, 2, 3)):
      with self.assertRaisesRegex(TypeError, '<a=int32,b=int32>'):
        messages.write(found, other, pair)

  def test_datasets_are_sent(self):
    # Not the same bytes: TensorFlow numbers a dataset's parts each time.
    type_spec = tff.FederatedType(tff.SequenceType(np.int64), tff.CLIENTS)
    message = executor_pb2.Value()
    messages.write(message, [tf.data.Dataset.range(3)], type_spec)
    (dataset,), _ = tff.framework.deserialize_value(message, type_spec)
    self.assertEqual(list(dataset.as_numpy_iterator()), [0, 1, 2])

  def test_what_is_not_of_the_type_is_refused(self):
    floats = tff.TensorType(np.float32, [3])
    pair = tff.types.to_type([('a', np.int32), ('b', np.int32)])
    at_clients = tff.FederatedType(np.int32, tff.CLIENTS)
    at_server = tff.FederatedType(np.int32, tff.SERVER)
    dataset = tff.SequenceType(np.int64)
    for value, sent, asked in (
        (np.ones([7], np.float32), tff.TensorType(np.float32, [7]), floats),
        (np.ones([3], np.int32), tff.TensorType(np.int32, [3]), floats),
        (
            np.ones([3, 1], np.float32),
            tff.TensorType(np.float32, [3, 1]),
            floats,
        ),
        (np.float32(1), tff.TensorType(np.float32), tff.TensorType(np.int32)),
        ('a', tff.TensorType(np.str_), tff.TensorType(np.int32)),
        ([1], tff.types.to_type([np.int32]), tff.TensorType(np.int32)),
        ([1], tff.types.to_type([np.int32]), pair),
        ([1, 2], tff.types.to_type([('b', np.int32), ('a', np.int32)]), pair),
        ([1], at_clients, at_server),
        ([1], at_clients, tff.TensorType(np.int32)),
        (1, tff.TensorType(np.int32), at_server),
        (tf.data.Dataset.range(3), dataset, tff.TensorType(np.int64)),
        (tf.data.Dataset.range(3), dataset, dataset),
    ):
      with self.subTest(sent=str(sent), asked=str(asked)):
        message, _ = tff.framework.serialize_value(value, sent)
        with self.assertRaisesRegex(errors.WorkerError, 'Expected .*, found'):
          messages.read(message, asked)

  @parameterized.parameters(
      dict(dim=[-1]), dict(dim=[2**62]), dict(dim=[3], unknown_rank=True)
  )
  def test_shapes_that_lie_are_refused(self, dim, unknown_rank=False):
    type_spec = tff.TensorType(np.float32, [None])
    message, _ = tff.framework.serialize_value(
        np.ones([3], np.float32), type_spec
    )
    message.array.shape.dim[:] = dim
    message.array.shape.unknown_rank = unknown_rank
    with self.assertRaisesRegex(errors.WorkerError, 'Expected float32'):
      messages.read(message, type_spec)

  def test_another_number_of_clients_is_refused(self):
    type_spec = tff.FederatedType(np.int32, tff.CLIENTS)
    message, _ = tff.framework.serialize_value([1, 2], type_spec)
    self.assertEqual(messages.read(message, type_spec, num_clients=2), [1, 2])
    with self.assertRaisesRegex(errors.WorkerError, 'Expected .*CLIENTS'):
      messages.read(message, type_spec, num_clients=3)

  @parameterized.parameters(
      ([1], tff.types.to_type([np.int32, np.int32])),
      (1, tff.types.to_type([np.int32])),
      (_MATRIX, tff.TensorType(np.float32, [3, 2])),
      ([_MATRIX], tff.types.to_type([tff.TensorType(np.int32, [2, 3])])),
      (3, tff.FederatedType(np.int32, tff.CLIENTS)),
  )
  def test_wrong_values_are_refused_in_the_words_of_tff(self, value, type_spec):
    with self.assertRaises(TypeError) as expected:
      tff.framework.serialize_value(value, type_spec)
    with self.assertRaises(TypeError) as found:
      messages.write(executor_pb2.Value(), value, type_spec)
    self.assertEqual(str(found.exception), str(expected.exception))

  def test_large_values_are_copied_once_and_not_by_tff(self):
    arrays = [np.ones([100, 100], np.float32).view(_Counted) for _ in range(4)]
    model = tff.learning.models.ModelWeights(arrays, non_trainable=[])
    type_spec = tff.FederatedType(
        tff.types.to_type(
            tff.learning.models.ModelWeights(
                trainable=[tff.TensorType(np.float32, [100, 100])] * 4,
                non_trainable=[],
            )
        ),
        tff.SERVER,
    )
    message = executor_pb2.Value()
    with mock.patch.object(
        tff.framework, 'serialize_value', wraps=tff.framework.serialize_value
    ) as by_tff:
      messages.write(message, model, type_spec)
    self.assertEqual([array.num_copies for array in arrays], [1] * 4)
    for call in by_tff.call_args_list:
      self.assertEqual(sum(np.size(leaf) for leaf in call.args[:1]), 0)
    expected, _ = tff.framework.serialize_value(model, type_spec)
    self.assertEqual(message, expected)


class _Counted(np.ndarray):
  """An array that counts how often its bytes are copied."""

  num_copies = 0

  def tobytes(self, *args, **kwargs):
    self.num_copies += 1
    return super().tobytes(*args, **kwargs)


if __name__ == '__main__':
  absltest.main()
