# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run took."""

from collections.abc import Mapping, Sequence

from tff_partial.evaluation import summary
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import tested_models as tested_models_lib
from tff_partial.learning import compression
from tff_partial.learning import mean_regularizer
from tff_partial.learning import partition
from tff_partial.learning import phase as phase_lib


def cost(
    plan: plan_lib.Plan,
    models: tested_models_lib.TestedModels,
    *,
    rounds: Sequence[Mapping[str, float]],
    num_evaluated: int,
    evaluation_seconds: float,
    bytes_stored: int,
    choice_seconds: float = 0.0,
    pretraining_seconds: float = 0.0,
) -> summary.Cost:
  """What a run took, from what its rounds counted.

  Args:
    plan: The run's plan.
    models: What was evaluated, with what fine-tuning took.
    rounds: The run's metrics, one record per round.
    num_evaluated: Clients that were evaluated at the end.
    evaluation_seconds: What that took.
    bytes_stored: Size of the personal variables that are kept.
    choice_seconds: What choosing the personal variables took.
    pretraining_seconds: What the pretraining took.
  """
  shared = [v for v in plan.variables if not v.personal]
  personal = [v for v in plan.variables if v.personal]
  once = sum(v.nbytes for v in plan.constants)
  broadcast = [v for v in shared if v.trainable or not once]
  down = sum(v.num_bytes for v in broadcast)
  server = plan.config.server
  if server.broadcast_bits == 16 and plan.algorithm.trains_shared:
    down -= sum(v.num_bytes // 2 for v in broadcast if v.dtype == 'float32')
  if phase_lib.needs_initial_personal(plan.algorithm.phases):
    down += sum(v.num_bytes for v in personal)
  if plan.algorithm.trains_shared:
    total = lambda name: sum(row.get(name, 0) for row in rounds)
    steps, examples = total('counts/steps'), total('counts/examples')
    seconds = total('seconds')
    visits = round(len(rounds) * plan.expected_clients)
    sent = [v for v in shared if v.trainable]
    down_before, up_before = _before_training(plan, sent)
    up = sum(v.num_bytes for v in sent)
    up_in_all = up * visits
    if server.compression != 'none':
      up = compression.most_bytes(
          [v.size for v in sent], bits=server.compression_bits
      )
      up_in_all = up * visits
      if plan.config.privacy.sends_metrics:  # Also how much it was.
        up_in_all = int(total('aggregator/bytes_up'))
        up = round(up_in_all / visits) if visits else 0
    up_in_all += up_before
  else:  # Every client was visited once, in the evaluation.
    down_before = 0
    steps, examples = models.finetuning_steps, models.finetuning_examples
    seconds = evaluation_seconds
    visits = num_evaluated
    down, once, up, up_in_all = down + once, 0, 0, 0
  counted = (
      not plan.algorithm.trains_shared or plan.config.privacy.sends_metrics
  )
  return summary.Cost(
      gradient_steps=int(steps) if counted else None,
      examples_processed=int(examples) if counted else None,
      bytes_down_per_client=down,
      bytes_up_per_client=up,
      bytes_down=down * visits + down_before,
      bytes_up=up_in_all,
      bytes_stored=bytes_stored,
      seconds=seconds,
      personal_parameters=sum(v.size for v in personal),
      shared_parameters=sum(v.size for v in shared),
      bytes_once_per_client=once,
      choice_seconds=choice_seconds,
      pretraining_seconds=pretraining_seconds,
  )


def _before_training(
    plan: plan_lib.Plan, sent: Sequence[partition.VariableInfo]
) -> tuple[int, int]:
  """Bytes to and from all clients for the mean of their representations."""
  means = [v for v in plan.variables if v.path == mean_regularizer.PATH]
  if not means:
    return 0, 0
  assert plan.sampler is not None
  clients = len(plan.sampler.clients.client_ids)
  number = 4  # Bytes of how many examples a client has.
  return (
      clients * sum(v.num_bytes for v in sent),
      clients * (means[0].num_bytes + number),
  )
