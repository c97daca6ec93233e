# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""`--personal=auto`: which layers to make personal, from data.

Before training, at the model that it starts from, a sample of clients scores
each layer. The layers with the highest scores that fit the budget make nested
candidates, and the smallest loss on held-out training examples, after
fine-tuning a candidate, decides. Scores (`--auto_score`), each per byte:

  * `variance`: b^2 / (b + n), where b is the second moment of clients'
    gradients beyond their noise n: the squared norm that is left of a client's
    gradient when it is shrunk as its noise demands. The loss that one step
    takes away grows with it;
  * `sensitivity`: the mean of (gradient x value)^2 after an epoch, as in
    PLayer-FL;
  * `moved`: how far an epoch moves the values, as in FedSelect, which chooses
    single numbers and not layers.

Candidates are not chosen among all subsets, and layers that a split would add
to the network, such as adapters, are not among them.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math
import pathlib
import re
import time
from typing import Any, Optional

import numpy as np
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial import files
from tff_partial.evaluation import moments as moments_lib
from tff_partial.evaluation import probes
from tff_partial.evaluation import shrinkage
from tff_partial.evaluation import split_probes
from tff_partial.experiments import parts as parts_lib
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import start as start_lib
from tff_partial.experiments.estimates import choice_extent
from tff_partial.experiments.estimates import held_out_sample
from tff_partial.experiments.settings import setting
from tff_partial.experiments.settings import split_choice
from tff_partial.learning import clients as clients_lib
from tff_partial.reporting import page
from tff_partial.runtime import sharding as sharding_lib

_CLIENTS = 20
_SIZES = (1, 2, 3, 5, 8, 13, 21, 34)  # Numbers of layers of the candidates.


def resolve(
    plan: plan_lib.Plan,
    folder: pathlib.Path,
    init_from: Optional[str],
    *,
    sharding: sharding_lib.Sharding,
    progress: bool = True,
    pretraining_rounds: Sequence[Mapping[str, float]] = (),
) -> plan_lib.Plan:
  """Replaces a split that is to be chosen by the choice.

  Args:
    plan: The run's plan.
    folder: Where the choice is kept, as `personal.json`.
    init_from: What training starts from.
    sharding: How many clients are computed at a time, and by whom.
    progress: Whether to print what this takes and what was found.
    pretraining_rounds: The metrics of the pretraining, if there was one.

  Returns:
    The plan itself if its split is given.

  Raises:
    errors.SettingsError: If the task or its clients do not allow a choice, or
      nothing fits the budget.
  """
  if not plan.config.chooses_split:
    return plan
  found = split_choice.read(folder)
  if found is None:
    started_at = time.monotonic()
    choice = _Choice(plan, init_from, sharding, pretraining_rounds)
    if progress:
      print(choice.extent.in_words(), flush=True)
    found = page.plain(choice.run())
    found['seconds'] = time.monotonic() - started_at
    files.replace_text(folder / split_choice.FILE_NAME, page.to_json(found))
  if progress:
    print(split_choice.table(found))
    print('\n'.join(split_choice.notes(folder)), flush=True)
  return plan_lib.build(
      plan.task,
      setting.replace(plan.config, personal=found['split']),
      on_validation=plan.on_validation,
  )


class _Choice:
  """One choice.

  Attributes:
    extent: What it takes.
  """

  def __init__(
      self,
      plan: plan_lib.Plan,
      init_from: Optional[str],
      sharding: sharding_lib.Sharding,
      pretraining_rounds: Sequence[Mapping[str, float]],
  ):
    self._plan = plan
    self._parts = parts_lib.Parts(plan.config)
    self._sharding = sharding
    self._model_fn = plan.task.model_fn('all')
    sample = held_out_sample.draw(
        plan,
        self._model_fn,
        name='personal',
        most_clients=_CLIENTS,
        least_held_out=1,
        least_examples=3,
        advice='Name a split.',
    )
    shared = start_lib.load(plan, init_from).shared
    weights = tff.learning.models.ModelWeights
    # The same variables in the same order, in the other group.
    self._start = (
        weights([], list(shared.non_trainable)),
        weights(list(shared.trainable), []),
    )
    # The places of the variables of each layer.
    self._layers: dict[str, list[int]] = {}
    self._variables = [v for v in plan.variables if v.trainable]
    for i, variable in enumerate(self._variables):
      layer = variable.path.rpartition('/')[0] or variable.path
      self._layers.setdefault(layer, []).append(i)
    # The smallest layers make the most candidates.
    most = len(self._fitting(sorted(self._layers, key=self._bytes)))
    self.extent = choice_extent.limit(
        plan,
        sample,
        candidates=most,
        pretraining_rounds=pretraining_rounds,
    )
    self._sample = dataclasses.replace(
        sample, client_ids=sample.client_ids[: self.extent.clients]
    )

  def run(self) -> dict[str, Any]:
    """Scores all layers, and compares some of them on held-out examples."""
    scores = self._scores()
    ranked = sorted(scores, key=lambda layer: scores[layer], reverse=True)
    nested = self._fitting(ranked)
    probe = self._plan.once(
        ('subset probe', self._plan.config.personal_rate),
        lambda: split_probes.build_subset_probe(
            self._model_fn,
            client_examples=self._sample.form,
            optimizer=self._optimizer,
            steps=self._parts.steps_of(self._plan.config.num_newcomer_epochs),
        ),
    )
    subsets = [[], *nested]
    losses = [self._loss(probe, layers) for layers in subsets]
    finite = [i for i in range(1, len(losses)) if math.isfinite(losses[i])]
    if not finite:
      raise errors.DivergedError(
          'Expected a finite loss after training some layers of a sample of'
          f' clients, found none of {len(nested)}. Use a smaller'
          ' `personal_learning_rate`, or `clip_norm`.'
      )
    chosen = subsets[min(finite, key=losses.__getitem__)]
    names = '|'.join(re.escape(layer) for layer in sorted(chosen))
    return {
        'split': f'regex:^(?:{names})(?:/[^/]*)?$',
        'chosen': chosen,
        'score': self._score_name,
        # That each client sent for each variable.
        'numbers': 4 if split_choice.trains(self._score_name) else 2,
        'clients': len(self._sample.client_ids),
        'layers': [
            {'name': n, 'bytes': self._bytes(n), 'score': scores[n]}
            for n in ranked
        ],
        'candidates': [
            {
                'layers': layers,
                'bytes': sum(map(self._bytes, layers)),
                'loss': loss,
            }
            for layers, loss in zip(subsets, losses)
        ],
    }

  @property
  def _optimizer(self) -> tff.learning.optimizers.Optimizer:
    return self._parts.unscheduled_personal.optimizer

  @property
  def _score_name(self) -> str:
    return self._plan.config.evaluation.auto_score

  def _bytes(self, layer: str) -> int:
    return sum(self._variables[i].num_bytes for i in self._layers[layer])

  def _fitting(self, ranked: Sequence[str]) -> list[list[str]]:
    """The first layers that fit, in numbers that grow; never all layers."""
    most = split_choice.budget(self._plan.config.personal or '')
    taken: list[str] = []
    for layer in ranked:
      size = sum(map(self._bytes, [*taken, layer]))
      if most is None or size <= most:
        taken.append(layer)
    taken = taken[: len(ranked) - 1]
    if not taken:
      smallest = min(map(self._bytes, ranked))
      raise errors.SettingsError(
          f'Expected a budget of at least {smallest:,} B in `personal`, of'
          f' the smallest layer, found {self._plan.config.personal!r}.'
      )
    sizes = sorted({n for n in _SIZES if n < len(taken)} | {len(taken)})
    return [taken[:n] for n in sizes]

  def _scores(self) -> dict[str, float]:
    """The score of each layer, per byte."""
    smallest = min(
        self._sample.training.num_examples(c) for c in self._sample.client_ids
    )
    size = max(1, min(self._sample.batch_size, smallest // 2))
    probe = self._plan.once(
        ('score probe', size, self._plan.config.personal_rate),
        lambda: split_probes.build_score_probe(
            self._model_fn,
            client_examples=self._sample.form.in_batches(size),
            training_examples=self._sample.form,
            optimizer=self._optimizer,
            steps=self._parts.steps_of(1),
            after_training=split_choice.trains(self._score_name),
        ),
    )
    rows = self._measure(probe, [self._start], [self._sample.training])
    column = lambda name: np.array([np.asarray(r[name], float) for r in rows])
    found = {n: column(n) for n in rows[0]}
    return {
        layer: self._score(found, places) / self._bytes(layer)
        for layer, places in self._layers.items()
    }

  def _score(
      self, found: dict[str, np.ndarray], places: Sequence[int]
  ) -> float:
    of_layer = lambda name: found[name][:, places].sum(axis=1)
    if split_choice.trains(self._score_name):
      name = {'moved': 'moved', 'sensitivity': 'sensitivities'}[
          self._score_name
      ]
      return float(np.mean(of_layer(name)))
    numbers = found['num_examples']
    variances = moments_lib.example_variance(
        of_layer('squares'), of_layer('norms'), numbers, found['num_batches']
    )
    signal = shrinkage.between_clients(of_layer('norms'), variances, numbers)
    noise = float(np.mean(variances / numbers))
    return signal**2 / (signal + noise) if signal > 0 else 0.0

  def _loss(self, probe: probes.Probe, layers: Sequence[str]) -> float:
    """The mean held-out loss if these layers are personal."""
    gates = np.zeros([len(self._variables)], np.float32)
    for layer in layers:
      gates[self._layers[layer]] = 1
    rows = self._measure(
        probe,
        [self._start, gates],
        [self._sample.training, self._sample.held_out],
    )
    total = sum(float(row['total']) for row in rows)
    return total / sum(float(row['weight']) for row in rows)

  def _measure(
      self,
      probe: probes.Probe,
      server: Sequence[Any],
      examples: Sequence[clients_lib.Clients],
  ) -> list[Any]:
    """What each client measures."""
    size = self._sharding.clients_per_shard or len(self._sample.client_ids)
    shards = [
        self._sample.client_ids[i : i + size]
        for i in range(0, len(self._sample.client_ids), size)
    ]
    step = sharding_lib.Step(probe.computation, list(server))
    seed = self._plan.config.seed

    def task(number):
      values = [
          [
              probe.client_examples.value(
                  clients.read(c), clients_lib.seed_for(seed, 'probe', c)
              )
              for c in shards[number]
          ]
          for clients in examples
      ]
      return step, tuple(values)

    return [
        row
        for rows in self._sharding.engine.compute(len(shards), task)
        for row in rows
    ]
