# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The models that clients are evaluated under, which the report is about.

| name               | shared variables | personal variables                |
| ------------------ | ---------------- | --------------------------------- |
| `initial`          | from the start   | from the start                    |
| `non_personalized` | pretrained       | pretrained                        |
| `control`          | by FedAvg        | by FedAvg                         |
| `shared`           | trained          | those that all clients start from |
| `personalized`     | trained          | the client's own                  |
| `finetuned`        | trained          | the client's own, trained further |
| `trained_alone`    | none             | the client's own                  |
| `with_neighbors`   | trained          | none, but training examples       |
| `new_*`            | trained          | what a newcomer can have          |

Runs of `fed_avg`, `fed_lora` and `rolora`, which give all clients one model,
have two: `initial`, and `non_personalized`, which is trained there.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

import tensorflow_federated as tff

from tff_partial.evaluation import evaluation
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import start as start_lib
from tff_partial.learning import nested_model
from tff_partial.learning import phase as phase_lib
from tff_partial.training import stores


class TestedModels:
  """The models of one run, and what evaluating them has cost.

  Attributes:
    finetuning_steps: Gradient steps of fine-tuning so far.
    finetuning_examples: Examples that these steps processed.
  """

  __test__ = False  # Not a test case, whatever its name makes pytest think.

  def __init__(
      self,
      plan: plan_lib.Plan,
      start: start_lib.Start,
      store: stores.AnyStore,
  ):
    """Refers to a run's parts.

    Args:
      plan: The run's plan.
      start: What it started from.
      store: Its personal variables, whose default is `start.personal`.
    """
    self._plan = plan
    self._start = start
    self._store = store
    self.finetuning_steps = 0
    self.finetuning_examples = 0

  def of_everyone(
      self, shared: tff.learning.models.ModelWeights
  ) -> dict[str, evaluation.TestedModel]:
    """The models that all clients are evaluated under, by name.

    Args:
      shared: The trained shared variables.
    """
    algorithm, start = self._plan.algorithm, self._start
    initial_for_all = _same_for_all(start.personal)
    before = self._model(start.shared, _same_for_all(start.baseline_personal))
    if not self._plan.config.method.personalizes:
      return {
          self._plan.baseline: before,
          self._plan.candidate: self._model(shared, initial_for_all),
      }
    models = {}
    if self._plan.starts_from_model:
      models['non_personalized'] = before
    if algorithm.trains_shared or not self._plan.starts_from_model:
      models['shared'] = self._model(
          shared, _same_for_all(algorithm.shared_only(shared, start.personal))
      )
    if algorithm.trains_shared and algorithm.trains_personal:
      if algorithm.stateful:
        models['personalized'] = self._model(shared, self._stored)
      else:
        # What a stateless client would have: made again from its data.
        models['personalized'] = self._model(
            shared, initial_for_all, phases=self._plan.reconstruction.phases
        )
    if self._plan.config.method.neighbors:
      models[self._plan.candidate] = dataclasses.replace(
          models['shared'], evaluation=self._plan.neighbors
      )
    if self._plan.finetuning is not None:
      # Fine-tuning alone starts again, also where a stopped run stored some.
      kept = algorithm.stateful and algorithm.trains_shared
      models[self._plan.config.finetuned_model] = self._model(
          shared,
          self._store.read if kept else initial_for_all,
          phases=self._plan.finetuning.phases,
          keep_fn=self._after_finetuning,
      )
    return models

  def _stored(
      self, client_ids: Sequence[str]
  ) -> Sequence[tff.learning.models.ModelWeights]:
    """Clients' variables; who never trained has the shared model."""
    stored = self._store.read(client_ids)
    if self._plan.levels is None:
      return stored
    nothing = nested_model.with_level(self._start.personal, 0)
    return [
        own if self._store.contains(client_id) else nothing
        for client_id, own in zip(client_ids, stored)
    ]

  def of_control(self, control: start_lib.Start) -> evaluation.TestedModel:
    """The model that more rounds of FedAvg made of the pretrained one.

    Args:
      control: Its variables.
    """
    return self._model(control.shared, _same_for_all(control.baseline_personal))

  def of_newcomers(
      self, shared: tff.learning.models.ModelWeights
  ) -> dict[str, evaluation.TestedModel]:
    """The models that only clients that never trained are evaluated under.

    'initial' is what every client starts from, or a copy of the shared model if
    clients have one; 'mean' the mean of what clients have by now, which is left
    out if they are fewer than `min_clients_for_mean`; 'reconstruct' starts from
    the initial values and runs one personal phase on the client's training
    examples, 'finetune' the epochs of fine-tuning.

    Args:
      shared: The trained shared variables.
    """
    initial = self._plan.algorithm.shared_only(shared, self._start.personal)
    phases = {
        'reconstruct': self._plan.reconstruction.phases,
        'finetune': self._plan.newcomer_finetuning.phases,
    }
    models = {}
    for policy in self._plan.config.onboarding_policies:
      if policy == 'mean' and not self.has_mean:
        continue
      personal = self._store.mean() if policy == 'mean' else initial
      model = self._model(
          shared,
          _same_for_all(personal),
          phases=phases.get(policy, ()),
          initial_personal=initial,
      )
      models[f'new_{policy}'] = dataclasses.replace(
          model, tests_fn=lambda client_id: not self.participated(client_id)
      )
    return models

  @property
  def num_stored(self) -> int:
    """The number of clients that have personal variables of their own."""
    return self._store.num_clients

  @property
  def has_mean(self) -> bool:
    """Whether enough clients are stored for their mean to be nobody's own."""
    least = self._plan.config.evaluation.min_clients_for_mean
    return self.num_stored >= least

  def participated(self, client_id: str) -> bool:
    """Whether a client took part in training."""
    if self._plan.algorithm.trains_shared:
      [version] = self._store.last_written([client_id])
      return bool(version)  # 0 for one that was added after training.
    return client_id not in self._plan.unseen

  def _model(
      self,
      shared: tff.learning.models.ModelWeights,
      personal_fn: Any,
      *,
      phases: Sequence[phase_lib.Phase] = (),
      keep_fn: Any = None,
      initial_personal: Any = None,
  ) -> evaluation.TestedModel:
    anchor: Any = ()
    if phase_lib.needs_initial_personal(phases):
      anchor = initial_personal or self._start.personal
    return evaluation.TestedModel(
        self._plan.build_evaluation(phases),
        shared,
        personal_fn,
        round_num=self._plan.config.total_rounds,
        initial_personal=anchor,
        keep_fn=keep_fn,
    )

  def _after_finetuning(
      self, client_ids: Sequence[str], outputs: Sequence[Any]
  ) -> None:
    self.finetuning_steps += sum(int(o['steps']) for o in outputs)
    self.finetuning_examples += sum(int(o['examples']) for o in outputs)
    if not self._plan.algorithm.trains_shared:
      # Fine-tuning alone keeps what it trained, to be exported.
      self._store.write(client_ids, [o['personal'] for o in outputs])


def _same_for_all(personal: tff.learning.models.ModelWeights) -> Any:
  """Gives every client these personal variables."""
  return lambda client_ids: [personal] * len(client_ids)
