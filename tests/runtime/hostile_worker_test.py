# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A worker that answers with a program, which TFF would run in the driver."""

from concurrent import futures
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import grpc
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import executor_pb2
from tensorflow_federated.proto.v0 import executor_pb2_grpc

from tff_partial import errors
from tff_partial.runtime import connection
from tff_partial.runtime import local


def setUpModule():
  local.remove_default_context()


def _writes_a_file(path) -> executor_pb2.Value:
  """A data set whose graph writes a file when it is made."""

  with tf.Graph().as_default() as graph:
    with tf.control_dependencies(
        [tf.raw_ops.WriteFile(filename=str(path), contents='here I was')]
    ):
      number = tf.identity(tf.constant(3, tf.int64))
    dataset = tf.data.Dataset.range(number)._variant_tensor
    definition = graph.as_graph_def()
  result = definition.node.add(
      name='result', op='_Retval', input=[dataset.name]
  )
  result.attr['T'].type = tf.variant.as_datatype_enum
  result.attr['index'].i = 0
  value = executor_pb2.Value()
  value.sequence.serialized_graph_def = definition.SerializeToString()
  element, _ = tff.framework.serialize_value(
      tf.data.Dataset.range(3), tff.SequenceType(np.int64)
  )
  value.sequence.element_type.CopyFrom(element.sequence.element_type)
  return value


def _in_struct(value):
  result = executor_pb2.Value()
  result.struct.element.add().value.CopyFrom(value)
  return result


def _at_server(value):
  result, _ = tff.framework.serialize_value(
      0, tff.FederatedType(np.int32, tff.SERVER)
  )
  result.federated.value[0].CopyFrom(value)
  return result


class _HostileWorker(executor_pb2_grpc.ExecutorGroupServicer):

  def __init__(self, answer):
    self._answer = answer

  def GetExecutor(self, request, context):
    return executor_pb2.GetExecutorResponse(
        executor=executor_pb2.ExecutorId(id='it')
    )

  def _value(self, response):
    response.value_ref.id = 'it'
    return response

  def CreateValue(self, request, context):
    return self._value(executor_pb2.CreateValueResponse())

  def CreateCall(self, request, context):
    return self._value(executor_pb2.CreateCallResponse())

  def Compute(self, request, context):
    return executor_pb2.ComputeResponse(value=self._answer)

  def Dispose(self, request, context):
    return executor_pb2.DisposeResponse()

  def DisposeExecutor(self, request, context):
    return executor_pb2.DisposeExecutorResponse()


@tff.tensorflow.computation
def a_number():
  return 1


@tff.tensorflow.computation
def a_list():
  return [1]


@tff.federated_computation
def at_server():
  return tff.federated_value(1, tff.SERVER)


class HostileWorkerTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = self.enter_context(tempfile.TemporaryDirectory())
    self.written = pathlib.Path(folder, 'written')

  def context(self, answer):
    """A context of a worker that answers whatever it is asked with this."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    executor_pb2_grpc.add_ExecutorGroupServicer_to_server(
        _HostileWorker(answer), server
    )
    port = server.add_insecure_port('localhost:0')
    server.start()
    self.addCleanup(server.stop, None)
    channel = self.enter_context(grpc.insecure_channel(f'localhost:{port}'))
    return connection.create_context(channel, connection.Compiler())

  def test_the_attack_works_on_tff_itself(self):
    tff.framework.deserialize_value(
        _writes_a_file(self.written), tff.TensorType(np.int32)
    )
    self.assertEqual(self.written.read_text(), 'here I was')

  @parameterized.product(
      asked=(
          (a_number, lambda v: v),
          (a_list, _in_struct),
          (at_server, _at_server),
      ),
      plain=('0', '1'),
  )
  def test_no_program_of_the_worker_runs_here(self, asked, plain):
    computation, wrap = asked
    self.enter_context(
        mock.patch.dict(os.environ, {connection.PLAIN_EXECUTOR: plain})
    )
    context = self.context(wrap(_writes_a_file(self.written)))
    with self.assertRaisesRegex(errors.WorkerError, 'found sequence'):
      context.invoke(computation, None)
    self.assertFalse(self.written.exists())

  def test_array_of_another_shape_is_refused(self):
    @tff.tensorflow.computation
    def three():
      return np.zeros([3], np.float32)

    answer, _ = tff.framework.serialize_value(
        np.ones([7], np.float32), tff.TensorType(np.float32, [7])
    )
    with self.assertRaisesRegex(errors.WorkerError, r'float32\[3\].* \[7\]'):
      self.context(answer).invoke(three, None)


if __name__ == '__main__':
  absltest.main()
