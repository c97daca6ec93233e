# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rounds of TFF's own build_unweighted_fed_avg, in its C++ worker.

The data sets are made before the first round; TFF serializes them in each.
"""

import collections
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_federated as tff

from benchmarks.peers import turns
from benchmarks.peers import work as work_lib
from benchmarks.peers import workloads


def create(work: work_lib.Work, options: Sequence[str]) -> turns.Rounds:
  """Prepares the rounds, as `turns.CreateFn`."""
  del options  # There are none.
  process = tff.learning.algorithms.build_unweighted_fed_avg(
      lambda: tff.learning.models.from_keras_model(
          workloads.MODELS[work.name](),
          loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
          input_spec=workloads.input_spec(work),
      ),
      client_optimizer_fn=tff.learning.optimizers.build_sgdm(
          work.learning_rate
      ),
  )
  state = process.set_model_weights(
      process.initialize(),
      tff.learning.models.ModelWeights(list(work.weights), []),
  )
  datasets = [
      tf.data.Dataset.from_tensor_slices(
          collections.OrderedDict(x=x, y=y)
      ).batch(work.batch_size)
      for x, y in zip(work.x, work.y)
  ]

  def run_round(round_num):
    nonlocal state
    cohort = [datasets[i] for i in work.cohorts[round_num]]
    state = process.next(state, cohort).state

  return run_round, lambda: process.get_model_weights(state).trainable


if __name__ == '__main__':
  turns.serve(create)
