# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The overhead of TFF: a round that sends everything and trains nothing.

Shared and personal variables and examples go to the worker through TFF's
runtime, and the variables come back.
"""

import time

import tensorflow_federated as tff

from benchmarks import apart
from benchmarks import workload as workload_lib
from tff_partial.learning import client_work as client_work_lib
from tff_partial.learning import clients as clients_lib


def create(workload: workload_lib.Workload) -> apart.Round:
  """A round of FedAlt without its steps."""
  form = workload.client_examples
  model_fn = workload.model_fn(workload.split)
  types = client_work_lib.model_types(model_fn, form)
  shared, personal = client_work_lib.build_initial_weights(model_fn, seed=0)()

  @tff.tensorflow.computation(types.shared, types.personal, types.examples)
  def client_work(shared, personal, examples):
    del examples  # Only received.
    return shared, personal

  @tff.federated_computation(
      tff.FederatedType(types.shared, tff.SERVER),
      tff.FederatedType(types.personal, tff.CLIENTS),
      tff.FederatedType(types.examples, tff.CLIENTS),
  )
  def next_round(shared, personal, examples):
    output = tff.federated_map(
        client_work, (tff.federated_broadcast(shared), personal, examples)
    )
    return tff.federated_mean(output[0]), output[1]

  def run(round_num):
    started_at = time.monotonic()
    cohort = workload.cohort(round_num)
    next_round(
        shared,
        [personal] * len(cohort),
        [
            form.value(
                workload.clients.read(client_id),
                clients_lib.seed_for(0, round_num, client_id),
            )
            for client_id in cohort
        ],
    )
    return time.monotonic() - started_at

  return run
