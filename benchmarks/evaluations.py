# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares the seconds of evaluating clients with bare forward passes.

  python -m benchmarks.evaluations

Evaluates the clients of the tasks' workloads (`task_workloads.py`) under their
personal models. The bare forward pass is a compiled `tf.function` that computes
the mean loss of each batch of the same clients: examples are in memory, and
there are no metrics for each example and no table. Both are interleaved.
"""

from collections.abc import Sequence
import time
from typing import Any, Optional

from absl import app
from absl import flags
from absl import logging
import numpy as np
import tensorflow as tf

from benchmarks import apart
from benchmarks import task_workloads
from benchmarks import workload as workload_lib
from tff_partial.evaluation import evaluation
from tff_partial.learning import client_work as client_work_lib

_CLIENTS = 40
_BARE = 'bare forward pass'


class LibraryEvaluation:
  """Evaluations of all clients, one after another.

  Attributes:
    losses: Each client's mean loss in the last one, float [clients].
  """

  def __init__(self, workload: workload_lib.Workload):
    """Builds the evaluation.

    Args:
      workload: Has the clients and the model.
    """
    model_fn = workload.model_fn(workload.split)
    shared, personal = client_work_lib.build_initial_weights(model_fn, seed=0)()
    self._models = {
        'personalized': evaluation.TestedModel(
            evaluation.build_evaluation(
                model_fn, client_examples=workload.client_examples
            ),
            shared,
            lambda client_ids: [personal] * len(client_ids),
        )
    }
    clients = workload.clients
    self._population = evaluation.Population(clients, clients, lambda _: True)
    self._client_ids = clients.client_ids

  def __call__(self, round_num: int) -> float:
    del round_num  # All are the same.
    started_at = time.monotonic()
    table = evaluation.evaluate(
        self._models, self._population, self._client_ids, progress=False
    )
    self.losses = table.values('personalized', 'loss')
    return time.monotonic() - started_at


class BareForwardPass:
  """Forward passes over all clients, one after another.

  Attributes:
    losses: The mean over each client's batches of their losses in the last
      one, float [clients].
  """

  def __init__(self, workload: workload_lib.Workload):
    """Compiles the function.

    Args:
      workload: Has the clients and the model.
    """
    self._tensors = workload.tensors
    model_fn = workload.model_fn(workload.split)
    initial = client_work_lib.build_initial_weights(model_fn, seed=0)()
    self._values = [v for group in initial for v in group.trainable]
    self._examples = [
        workload.arrays.read(c) for c in workload.arrays.client_ids
    ]
    self._model = model_fn()
    self._variables = [
        v
        for group in (self._model.shared, self._model.personal)
        for v in group.trainable
    ]
    self._compute = tf.function(self._loss).get_concrete_function(
        tf.nest.map_structure(
            lambda array: tf.TensorSpec(array.shape, array.dtype),
            self._examples[0],
        )
    )

  def __call__(self, round_num: int) -> float:
    del round_num  # All are the same.
    started_at = time.monotonic()
    losses = []
    for examples in self._examples:
      for variable, value in zip(self._variables, self._values):
        variable.assign(value)
      losses.append(
          self._compute(tf.nest.map_structure(tf.constant, examples)).numpy()
      )
    self.losses = np.array(losses)
    return time.monotonic() - started_at

  def _loss(self, examples: Any):
    tensors = self._tensors
    num_examples = len(tf.nest.flatten(examples)[0])
    total, batches = tf.constant(0.0), tf.constant(0.0)
    for start in tf.range(0, num_examples, tensors.batch_size):
      batch = tf.nest.map_structure(
          lambda t, start=start: t[start : start + tensors.batch_size], examples
      )
      if tensors.prepare_test is not None:
        batch = tensors.prepare_test(batch, tf.constant([0, 0]))
      outputs = self._model.outputs(batch, training=False)
      total += self._model.loss(batch, outputs)
      batches += 1.0
    return total / batches


def create(
    task: str, sizes: dict[str, int], folder: str
) -> dict[str, apart.Round]:
  """The evaluation of this library, for `apart.start`."""
  workload = task_workloads.CREATE[task](folder, **sizes)
  return {'tff_partial': LibraryEvaluation(workload)}


def run(
    task: str, num_times: int, sizes: Optional[dict[str, int]] = None
) -> dict[str, np.ndarray]:
  """Measures evaluations and prints the table.

  Args:
    task: One of `task_workloads.CREATE`.
    num_times: How often each is measured.
    sizes: Arguments of the function that creates the workload.

  Returns:
    What `interleaved.measure` returns.
  """
  sizes = {'clients': _CLIENTS} if sizes is None else sizes
  return task_workloads.run_next_to(
      _BARE, BareForwardPass, create, task, sizes, num_times
  )


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Expected flags only, found {argv[1]!r}.')
  logging.set_verbosity(logging.WARNING)
  for name in FLAGS.task:
    run(name, FLAGS.times)


if __name__ == '__main__':
  flags.DEFINE_multi_enum(
      'task',
      list(task_workloads.CREATE),
      list(task_workloads.CREATE),
      'Tasks to measure; repeat the flag for several.',
  )
  flags.DEFINE_integer(
      'times', 10, 'How often each evaluation is measured.', lower_bound=1
  )
  FLAGS = flags.FLAGS
  app.run(main)
