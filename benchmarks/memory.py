# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures the peak memory of a round of a large model, in driver and worker.

  python -m benchmarks.memory --clients_per_shard=1 --microbatch_size=16

Runs an experiment of one round of FedAlt with adapters, and its evaluation:
ResNet-18 with 224 x 224 pixels and 2,028 classes, on photos of noise. Only some
clients have a full batch, and the others two photos: more photos would take
more time, but not more memory.
"""

from collections.abc import Sequence
import pathlib
import resource
import tempfile
import time
from typing import NamedTuple, Optional

from absl import app
from absl import flags
from absl import logging
import numpy as np
import tensorflow as tf

from tasks.landmarks import photo_folder
from tasks.landmarks import task as landmarks
from tff_partial.data import sql_writer
from tff_partial.experiments import plan
from tff_partial.experiments import run
from tff_partial.experiments.settings import config as config_lib
from tff_partial.runtime import local
from tff_partial.runtime import names
from tff_partial.runtime import runtimes
from tff_partial.runtime import sharding as sharding_lib

_CLASSES = 2028
_STORED_SIZE = 256
_FEW_PHOTOS = 2


class Peak(NamedTuple):
  """Memory and time of a run.

  Attributes:
    driver_bytes: Peak resident memory of this process.
    worker_bytes: Peak resident memory of the largest process that it started.
    seconds: Time of the round and the evaluation.
  """

  driver_bytes: int
  worker_bytes: int
  seconds: float


def write_data(
    folder: str, *, num_clients: int, num_full: int, photos: int
) -> None:
  """Writes photographers to a folder, some of them with many photos."""
  features = {
      'pixels': tf.TensorSpec([_STORED_SIZE, _STORED_SIZE, 3], tf.uint8),
      'label': tf.TensorSpec([], tf.int32),
  }
  for name in ('train', 'test'):
    with sql_writer.SqlWriter(f'{folder}/{name}.sqlite', features) as writer:
      for i in range(num_clients):
        rng = np.random.default_rng(i)
        full = name == 'train' and i < num_full
        size = photos if full else _FEW_PHOTOS
        shape = [size, _STORED_SIZE, _STORED_SIZE, 3]
        writer.write(
            f'photographer_{i:03}',
            {
                'pixels': rng.integers(0, 256, shape, np.uint8),
                'label': rng.integers(0, _CLASSES, size, np.int32),
            },
        )
  names = [f'landmark {i}' for i in range(_CLASSES)]
  (pathlib.Path(folder) / photo_folder.CLASSES).write_text(
      photo_folder.format_classes(names), encoding='utf-8'
  )


def measure(
    *,
    num_clients: int,
    num_full: int,
    batch_size: int,
    clients_per_shard: Optional[int] = None,
    microbatch_size: Optional[int] = None,
    runtime: str = names.IN_PROCESS,
    model: str = 'resnet18',
    image_size: Optional[int] = None,
) -> Peak:
  """Runs the experiment in this process, and a worker if that is its runtime.

  Args:
    num_clients: Clients in the round.
    num_full: Number of clients that have as many photos as a batch.
    batch_size: Photos per step.
    clients_per_shard: Clients that are computed at a time; by default all.
    microbatch_size: Photos whose gradients are computed at a time; by default
      a batch.
    runtime: What computes clients, one of `names.RUNTIMES`.
    model: Passed to `landmarks.create_task`.
    image_size: Passed to `landmarks.create_task`.
  """
  with tempfile.TemporaryDirectory() as folder:
    write_data(
        folder, num_clients=num_clients, num_full=num_full, photos=batch_size
    )
    task = landmarks.create_task(
        folder, model=model, batch_size=batch_size, image_size=image_size
    )
    config = config_lib.create(
        algorithm='fed_alt',
        personal='adapter',
        total_rounds=1,
        clients_per_round=num_clients,
        microbatch_size=microbatch_size,
        pretrain_rounds=0,
        rounds_per_evaluation=0,
        server_optimizer='adam',
    )
    started_at = time.monotonic()
    with runtimes.start(runtime, max_concurrent_clients=1):
      run.run(
          plan.build(task, config),
          str(pathlib.Path(folder) / 'run'),
          sharding=sharding_lib.Sharding(clients_per_shard=clients_per_shard),
          progress=False,
      )
  # The kernel knows the peak; a thread that samples memory would miss it while
  # another thread holds the interpreter lock. The worker is the largest child.
  driver, worker = (
      resource.getrusage(who).ru_maxrss * 1024
      for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
  )
  if runtime == names.IN_PROCESS:
    worker = 0  # The largest child is somebody else.
  return Peak(driver, worker, time.monotonic() - started_at)


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Expected flags only, found {argv[1]!r}.')
  logging.set_verbosity(logging.WARNING)
  local.remove_default_context()
  peak = measure(
      num_clients=FLAGS.clients,
      num_full=FLAGS.full_clients,
      batch_size=FLAGS.batch_size,
      clients_per_shard=FLAGS.clients_per_shard,
      microbatch_size=FLAGS.microbatch_size,
      runtime=FLAGS.runtime,
  )
  driver, worker = peak.driver_bytes, peak.worker_bytes
  print(
      f'| {FLAGS.runtime} | {FLAGS.clients} |'
      f' {FLAGS.clients_per_shard or "all"} |'
      f' {FLAGS.batch_size} | {FLAGS.microbatch_size or FLAGS.batch_size} |'
      f' {driver / 2**30:.2f} | {worker / 2**30:.2f} |'
      f' {(driver + worker) / 2**30:.2f} | {peak.seconds:.0f} |'
  )


if __name__ == '__main__':
  flags.DEFINE_integer('clients', 50, 'Clients in the round.', lower_bound=1)
  flags.DEFINE_integer(
      'clients_per_shard', None, 'Clients computed at a time. Default: all.'
  )
  flags.DEFINE_integer('batch_size', 64, 'Photos per step.', lower_bound=1)
  flags.DEFINE_integer(
      'microbatch_size',
      None,
      'Photos whose gradients are computed at a time. Default: a batch.',
  )
  flags.DEFINE_enum(
      'runtime', names.IN_PROCESS, names.RUNTIMES, 'What computes clients.'
  )
  flags.DEFINE_integer(
      'full_clients', 2, 'Clients with as many photos as a batch.'
  )
  FLAGS = flags.FLAGS
  app.run(main)
