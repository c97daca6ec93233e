# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A Ray cluster of several nodes on this machine.

Import this before anything imports Ray, which reads the environment once.
"""

import os
import secrets

os.environ['RAY_AUTH_MODE'] = 'token'
os.environ['RAY_AUTH_TOKEN'] = secrets.token_hex(16)
os.environ['RAY_USAGE_STATS_ENABLED'] = '0'
# A node is lost after two seconds without an answer, rather than ten.
os.environ['RAY_health_check_period_ms'] = '500'
os.environ['RAY_health_check_timeout_ms'] = '500'
os.environ['RAY_health_check_failure_threshold'] = '4'
# Even small sums are in the object store of the machine that computed them, but
# not single numbers, such as the arguments of actors.
os.environ['RAY_max_direct_call_object_size'] = '200'
# The program ends five seconds after the head, rather than a minute.
os.environ['RAY_gcs_rpc_server_reconnect_timeout_s'] = '5'

import psutil
import ray
from ray import cluster_utils


class SimulatedCluster:
  """A head without cores, and some nodes with one core each.

  Attributes:
    nodes: The nodes, apart from the head.
    address: Where the cluster answers.
  """

  def __init__(self, test_case, num_nodes, **head_arguments):
    before = set(psutil.Process().children(recursive=True))
    test_case.addClassCleanup(_check_nobody_is_left, before)
    self._cluster = cluster_utils.Cluster(
        initialize_head=True,
        head_node_args={
            'num_cpus': 0,
            'include_dashboard': False,
            **head_arguments,
        },
    )
    test_case.addClassCleanup(self._cluster.shutdown)
    self.nodes = [
        self._cluster.add_node(num_cpus=1, wait=False) for _ in range(num_nodes)
    ]
    self._cluster.wait_for_nodes()
    self.address = self._cluster.address
    os.environ['RAY_ADDRESS'] = self.address
    test_case.addClassCleanup(os.environ.pop, 'RAY_ADDRESS')

  def num_nodes(self):
    """Number of nodes that are there, with the head and any others."""
    alive = self._cluster.global_state.node_table()
    return sum(node['Alive'] for node in alive)

  @property
  def head(self):
    return self._cluster.head_node

  def kill(self, node):
    """Kills a node's daemon, and what it has started."""
    self._cluster.remove_node(node, allow_graceful=False)


def send(node, name, number):
  """Sends a signal to a process of a node: 'raylet' or 'gcs_server'."""
  [process] = node.all_processes[name]
  process.process.send_signal(number)


def describe(engine):
  """What the processes that compute say about themselves."""
  return ray.get([handle.describe.remote() for handle in engine.handles])


def kill_process(name):
  """Kills one of the processes with this name that are there."""
  for process in psutil.Process().children(recursive=True):
    if process.cmdline()[:1] and process.cmdline()[0].startswith(name):
      process.kill()
      return
  raise AssertionError(f'Expected a process {name}, found none.')


def _check_nobody_is_left(before):
  mine = set(psutil.Process().children(recursive=True)) - before
  _, alive = psutil.wait_procs(mine, timeout=20)
  if alive:
    raise AssertionError(f'Expected no process to be left, found {alive}.')
