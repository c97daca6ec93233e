# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Serves a TFF worker on this machine for `run_experiment.py --workers`.

  python -m tff_partial.runtime.serve_worker --port=8000
  python -m tff_partial.runtime.serve_worker --port=8000 --host=10.0.0.5

The protocol has no authentication and no encryption: whoever reaches the port
can run programs here with your permissions. Serve on the loopback address and
use a tunnel (ssh -L), or serve on a private network.

TFF's worker listens at every address of a machine and has no flag to restrict
this. So unless it is started with --host=0.0.0.0, it runs in its own network
namespace, which has a loopback device only, and this program relays connections
from --host to it.
"""

import asyncio
from collections.abc import Sequence
import contextlib
import ctypes
import fcntl
from importlib import metadata
import ipaddress
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
from typing import Optional

from absl import app
from absl import flags

from tff_partial import errors
from tff_partial.runtime import worker_process

EVERY_ADDRESS = '0.0.0.0'
_BUFFER_BYTES = 2**20
# From Linux's sched.h, sockios.h and if.h.
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def serve(host: str, port: int, max_concurrent_clients: int) -> None:
  """Serves until the worker or this program ends.

  Args:
    host: The address to listen at; 0.0.0.0 for every address.
    port: The port to listen at.
    max_concurrent_clients: Number of clients that compute at the same time.

  Raises:
    errors.SettingsError: If the host stands for every address and is not
      0.0.0.0, such as an empty one.
    OSError: If the address and port cannot be used.
    errors.FileError: If the worker cannot be given a network namespace.
    errors.WorkerError: If the worker does not start, or ends.
  """
  _check_host(host)
  listener = None
  worker_port = port
  if host != EVERY_ADDRESS:
    # A socket stays in the namespace where it was created.
    listener = socket.create_server((host, port))
    _enter_private_network()
    worker_port = 0
  with tempfile.TemporaryFile() as log:
    worker = worker_process.WorkerProcess(
        worker_port,
        max_concurrent_clients=max_concurrent_clients,
        log=log,
        variables={},
    )
    try:
      version = metadata.version('tensorflow-federated')
      print(
          f'Serving a worker of TFF {version} at {host}:{port}. There is no'
          ' password: whoever reaches this port can run programs here.',
          flush=True,
      )
      if listener is not None:
        threading.Thread(
            target=lambda: asyncio.run(_relay(listener, worker.port)),
            daemon=True,
        ).start()
      worker.wait()
      raise errors.WorkerError(f'The TFF worker ended: {worker.how_it_ended()}')
    finally:
      worker.stop()


def _check_host(host: str) -> None:
  """Checks that every address is served only if that was asked for."""
  if host == EVERY_ADDRESS:
    return
  found = socket.getaddrinfo(host, None) if host else []
  addresses = [str(a[0]).partition('%')[0] for *_, a in found]
  if not host or any(ipaddress.ip_address(a).is_unspecified for a in addresses):
    raise errors.SettingsError(
        f'Expected an address of this machine as `host`, found {host!r}, which'
        f' stands for every address. Use --host={EVERY_ADDRESS} if every'
        ' machine that reaches this one may run programs here.'
    )


def _enter_private_network() -> None:
  """Moves this process into a network that has a loopback device only.

  Raises:
    errors.FileError: If this is not allowed.
  """
  error: Optional[str] = 'this is not Linux'
  if sys.platform == 'linux':
    libc = ctypes.CDLL(None, use_errno=True)
    error = None
    # The second call is for users other than root.
    if libc.unshare(_CLONE_NEWNET) and libc.unshare(
        _CLONE_NEWNET | _CLONE_NEWUSER
    ):
      error = os.strerror(ctypes.get_errno())
  if error:
    raise errors.FileError(
        'Expected permission to create a network namespace for the worker,'
        f' which otherwise listens at every address, found: {error}. Use'
        f' --host={EVERY_ADDRESS} if every machine that reaches this one may'
        ' use the worker.'
    )
  with socket.socket() as any_socket:
    request = struct.pack('16sH', b'lo', _IFF_UP)
    fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)


async def _relay(listener: socket.socket, worker_port: int) -> None:
  """Relays every connection to the worker."""

  async def connected(reader, writer):
    with contextlib.suppress(ConnectionError):
      worker_reader, worker_writer = await asyncio.open_connection(
          '127.0.0.1', worker_port, limit=_BUFFER_BYTES
      )
      await asyncio.gather(
          _copy(reader, worker_writer), _copy(worker_reader, writer)
      )

  server = await asyncio.start_server(
      connected, sock=listener, limit=_BUFFER_BYTES
  )
  await server.serve_forever()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
  try:
    while data := await reader.read(_BUFFER_BYTES):
      writer.write(data)
      await writer.drain()
  finally:
    writer.close()


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Expected flags only, found {argv[1]!r}.')
  signal.signal(signal.SIGTERM, lambda *unused: sys.exit(0))
  try:
    serve(
        FLAGS.host,
        FLAGS.port,
        FLAGS.max_concurrent_clients or worker_process.usable_cores(),
    )
  except (OSError, errors.UserError) as e:
    print(f'serve_worker: {" ".join(str(e).split())}', file=sys.stderr)
    sys.exit(1)
  except KeyboardInterrupt:
    sys.exit(130)


if __name__ == '__main__':
  flags.DEFINE_integer(
      'port', None, 'Port to listen at.', lower_bound=1, upper_bound=65535
  )
  flags.DEFINE_string(
      'host',
      '127.0.0.1',
      'Address of this machine to listen at; 0.0.0.0 means every address.'
      ' There is no password: use a private network.',
  )
  flags.DEFINE_integer(
      'max_concurrent_clients',
      None,
      'Number of clients that compute at the same time; by default one per'
      ' core.',
      lower_bound=1,
  )
  flags.mark_flag_as_required('port')
  FLAGS = flags.FLAGS
  app.run(main)
