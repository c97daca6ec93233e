# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A program that reaches a cluster through its Ray Client server."""

import socket

from absl.testing import absltest

from tests.helpers import ray_cluster
from tests.helpers import sharded
from tff_partial.runtime import cluster
from tff_partial.runtime import sharding


def _unused_port():
  with socket.create_server(('127.0.0.1', 0)) as listener:
    return listener.getsockname()[1]


class RayClientTest(absltest.TestCase):

  def test_same_bits_as_without(self):
    port = _unused_port()
    ray_cluster.SimulatedCluster(type(self), 1, ray_client_server_port=port)
    with cluster.connect(f'ray://127.0.0.1:{port}', actor_cores=1) as engine:
      found = sharded.train(engine)
      expected = sharded.train(sharding.ThisThread())
    self.assertEqual(
        [leaf.tobytes() for leaf in found[0]],
        [leaf.tobytes() for leaf in expected[0]],
    )
    self.assertEqual(found[1:], expected[1:])


if __name__ == '__main__':
  absltest.main()
