# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Connects to a Ray cluster, or starts one on this machine for a run alone.

Whoever reaches a Ray cluster can run programs on it, unless it asks for a token
[1]. So before any computation or value is sent, the cluster is asked something
without the token, and must refuse. By ray://, this comes before anything else;
otherwise Ray connects first, with the token.

[1] https://docs.ray.io/en/latest/ray-security/token-auth.html
"""

from collections.abc import Iterator
import contextlib
import functools
import logging
import os
import pathlib
import secrets
import shutil
import tempfile
from typing import Any

import grpc
import ray

from tff_partial import errors
from tff_partial.runtime import cluster_address
from tff_partial.runtime import worker_process

_CORES = 4  # One process does not use many cores well.
_ASK_SECONDS = 10.0
_REACH_SECONDS = 35.0  # By ray://, as long as Ray itself tries.
# Without a request, which does nothing.
_ASK_CLUSTER = '/ray.rpc.NodeInfoGcsService/CheckAlive'
_ASK_CLIENT_SERVER = '/ray.rpc.RayletDriver/ClusterInfo'
_NO_ANSWER = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)
_QUIET: dict[str, Any] = {
    'log_to_driver': False,
    'logging_level': logging.ERROR,
}


@contextlib.contextmanager
def connect(address: str, *, insecure_cluster: bool) -> Iterator[None]:
  """Connects this program to a cluster until the block ends.

  Args:
    address: 'local' for a cluster on this machine that ends with the block;
      'auto' for the one that this machine is part of; ray://host:port.
    insecure_cluster: Whether the cluster may let everybody in.

  Raises:
    errors.SettingsError: If the address is not valid, this program is connected
      already, or the cluster lets everybody in.
    errors.WorkerError: If the cluster does not answer.
  """
  cluster_address.check(address)
  if ray.is_initialized():
    raise errors.SettingsError(
        'Expected a program without a connection to Ray, found one. Call'
        ' ray.shutdown() first.'
    )
  is_client = address.startswith(cluster_address.RAY_CLIENT)
  with contextlib.ExitStack() as stack:
    stack.callback(ray.shutdown)
    if address == cluster_address.LOCAL:
      stack.enter_context(_private_cluster())
    else:
      if is_client and not insecure_cluster:
        _check_refuses(address)
      _connect(address)
    if not is_client and not insecure_cluster:
      _check_refuses(address)
    yield


@contextlib.contextmanager
def _private_cluster() -> Iterator[None]:
  """Starts a cluster on this machine with a token of its own."""
  with contextlib.ExitStack() as stack:
    stack.enter_context(
        _environment(RAY_AUTH_TOKEN=_token(), RAY_USAGE_STATS_ENABLED='0')
    )
    # Ray lets everybody read and write the folder that has its sockets, so it
    # is inside of one that nobody else can enter.
    folder = tempfile.mkdtemp(prefix='tff_partial-', dir='/tmp')
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    with one_line_errors():
      ray.init(
          'local',  # Whatever RAY_ADDRESS is.
          num_cpus=worker_process.usable_cores(),
          include_dashboard=False,
          _temp_dir=os.path.join(folder, 'ray'),
          **_QUIET,
      )
    # Before the folder is removed.
    stack.callback(ray.shutdown)
    yield


@functools.cache  # Ray keeps the first one that a process has.
def _token() -> str:
  return secrets.token_hex(32)


def _connect(address: str) -> None:
  try:
    # By default Ray tries 20 times, for 40 seconds each, to reach a cluster
    # that is gone.
    with _environment(RAY_gcs_server_port_wait_time_s='1'):
      ray.init(address, **_QUIET)
  except ray.exceptions.AuthenticationError as error:
    raise errors.SettingsError(
        f'Expected the token of the cluster at {address}, found none or another'
        f' one: {_one_line(error)}'
    ) from error
  except (
      ConnectionError,
      RuntimeError,
      ValueError,
      ray.exceptions.RayError,
  ) as error:
    raise _no_answer(address, error) from error


def _no_answer(address: str, error: Any) -> errors.WorkerError:
  return errors.WorkerError(
      f'Expected a Ray cluster at {address}, found none that answers:'
      f' {_one_line(error)} Start one with "ray start --head", or use'
      f' `cluster` of {cluster_address.LOCAL}.'
  )


def _check_refuses(address: str) -> None:
  """Checks that the cluster refuses whoever has no token.

  Raises:
    errors.SettingsError: If it does not.
    errors.WorkerError: If nobody answers at an address of ray://.
  """
  is_client = address.startswith(cluster_address.RAY_CLIENT)
  if is_client:
    target = address.removeprefix(cluster_address.RAY_CLIENT)
    question = _ASK_CLIENT_SERVER
  else:
    target, question = ray.get_runtime_context().gcs_address, _ASK_CLUSTER
  with _channel(target) as channel:
    try:
      channel.unary_unary(question)(
          b'',
          timeout=_REACH_SECONDS if is_client else _ASK_SECONDS,
          wait_for_ready=is_client,  # Its server may be starting.
      )
    except grpc.RpcError as error:
      if error.code() == grpc.StatusCode.UNAUTHENTICATED:
        return
      if is_client and error.code() in _NO_ANSWER:
        raise _no_answer(address, error.details()) from error
  raise errors.SettingsError(
      f'Expected a cluster at {address} that asks for a token, found one that'
      ' lets everybody in who reaches it. Start it with RAY_AUTH_MODE=token, or'
      ' use `insecure_cluster` on a network that is yours alone.'
  )


def _channel(target: str) -> grpc.Channel:
  """A channel as Ray's own, but without a token."""
  if os.environ.get('RAY_USE_TLS', '0').lower() not in ('1', 'true'):
    return grpc.insecure_channel(target)

  def read(variable: str) -> bytes:
    with open(os.environ[variable], 'rb') as file:
      return file.read()

  return grpc.secure_channel(
      target,
      grpc.ssl_channel_credentials(
          root_certificates=read('RAY_TLS_CA_CERT'),
          private_key=read('RAY_TLS_SERVER_KEY'),
          certificate_chain=read('RAY_TLS_SERVER_CERT'),
      ),
  )


def nodes() -> list[tuple[str, int]]:
  """Ray's id and the number of cores of each machine of the cluster."""
  return [
      (found['NodeID'], int(found['Resources'].get('CPU', 0)))
      for found in ray.nodes()
      if found['Alive']
  ]


def cores_of_nodes() -> list[int]:
  """Number of cores of each machine of the cluster."""
  return [cores for _, cores in nodes()]


def default_cores() -> int:
  """Number of cores of a process, unless the user says."""
  return min(_CORES, max(cores_of_nodes()))


def environment() -> dict[str, Any]:
  """What Ray needs to know to start processes that can import this package.

  They find a checkout at the same path on every machine, and use oneDNN if this
  program does, whose results are rounded differently.
  """
  root = str(pathlib.Path(__file__).absolute().parent.parent.parent)
  paths = filter(None, [root, os.environ.get('PYTHONPATH')])
  variables = {'PYTHONPATH': os.pathsep.join(paths)}
  if (onednn := os.environ.get('TF_ENABLE_ONEDNN_OPTS')) is not None:
    variables['TF_ENABLE_ONEDNN_OPTS'] = onednn
  return {'env_vars': variables}


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
  """Raises Ray's errors as errors that a user can do something about.

  Raises:
    errors.WorkerError: If the cluster is lost.
    errors.UserError: If a process of the cluster raised it.
  """
  try:
    yield
  except ray.exceptions.RayTaskError as error:
    cause = error.cause
    if isinstance(cause, errors.UserError):
      raise type(cause)(str(cause)) from None
    raise  # A bug: its traceback is of use.
  except (ray.exceptions.RayError, ConnectionError) as error:
    raise errors.WorkerError(
        f'Expected the Ray cluster to go on, found: {_one_line(error)} Run the'
        ' same command again, with this or another cluster: it continues from'
        ' the last checkpoint.'
    ) from error


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
  """Sets environment variables, which Ray's processes inherit."""
  before = {name: os.environ.get(name) for name in variables}
  os.environ.update(variables)
  try:
    yield
  finally:
    for name, value in before.items():
      if value is None:
        del os.environ[name]
      else:
        os.environ[name] = value


def _one_line(error: Any) -> str:
  return ' '.join(str(error).split())[:300].rstrip('.') + '.'
