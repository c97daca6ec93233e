# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads the files of finished runs: each client's numbers by model."""

from collections.abc import Collection, Mapping
import csv
import dataclasses
import json
import math
import os
import pathlib
from typing import Any, Optional

import numpy as np

from tff_partial import errors
from tff_partial.evaluation import csv_cells
from tff_partial.evaluation import gate
from tff_partial.evaluation import metric as metric_lib
from tff_partial.evaluation import yardstick

# Models that a scheme is compared with; they are not its result.
_SHARED = 'shared'
_REFERENCES = (
    'initial',
    'non_personalized',
    _SHARED,
    'control',
    yardstick.MOST_FREQUENT,
)
# The names of models for clients that never trained begin with this.
_NEWCOMER = 'new_'
# Costs that earlier reports do not have.
_LATER_COSTS = (
    'bytes_once_per_client',
    'choice_seconds',
    'choice_share',
    'pretraining_seconds',
)


@dataclasses.dataclass(frozen=True)
class Key:
  """What distinguishes the runs of a comparison.

  Attributes:
    algorithm: The algorithm's name, with a remark if it is a variant.
    split: Which variables are personal, in words.
    full: Whether all of the model is personal.
    seed: The seed of the run.
  """

  algorithm: str
  split: str
  full: bool
  seed: int


@dataclasses.dataclass(frozen=True)
class Outcome:
  """Clients' results under one model of one run; arrays are float [clients].

  Attributes:
    client_ids: The clients with test data, in the order of the arrays.
    train_examples: The number of each client's training examples.
    values: By metric, each client's value under the model.
    weights: By metric, the weight of each client's value in the mean.
    baseline: By metric, each client's value under the run's baseline.
    p_hurt: One-sided p-value of each client's paired test (`summary.compare`).
    hurt_by_chance: The share of clients whose test would say that they are hurt
      if only chance decided; NaN if it is not known.
    testable: The share of clients whose test could say so: models score five or
      more of their examples differently; NaN likewise.
    candidate: The name of the model that the run is about.
    baseline_model: The name of the run's baseline.
    cost: The cost of the run, as `summary.Cost.to_dict` gives it, and
      `personal_bytes`, the size of one client's personal variables.
    takers: With the model `gated`, how many of the clients take the run's
      candidate; `None` otherwise, and in earlier reports.
    epsilon: That of the run's differential privacy; infinite without noise.
    delta: That of the run's differential privacy; `None` without it.
  """

  client_ids: tuple[str, ...]
  train_examples: np.ndarray
  values: Mapping[str, np.ndarray]
  weights: Mapping[str, np.ndarray]
  baseline: Mapping[str, np.ndarray]
  p_hurt: np.ndarray
  cost: Mapping[str, Optional[float]]
  hurt_by_chance: float = math.nan
  testable: float = math.nan
  candidate: str = ''
  baseline_model: str = ''
  takers: Optional[int] = None
  epsilon: float = math.inf
  delta: Optional[float] = None


@dataclasses.dataclass(frozen=True)
class Run:
  """The results of a run.

  Attributes:
    metric: The metric that decides who gains and who is hurt.
    percent: Whether the metric is shown in percent.
    outcomes: Results by model for clients that could take part in training; the
      first model is the run's candidate.
    newcomers: Results by model for clients kept out of training; without
      policies for them, as for FedAvg, those of the run's candidate.
    yardstick: Results of the clients' most frequent labels (`yardstick`), if
      the run has them.
    shared: Results of the candidate's shared variables with the initial
      personal ones, which are the same for all clients, if the run has them.
    known_newcomers: How many of the clients kept out of training trained the
      model that the run started from.
    notes: Those of the run's report that a comparison repeats.
  """

  metric: metric_lib.Metric
  percent: bool
  outcomes: Mapping[str, Outcome]
  newcomers: Mapping[str, Outcome] = dataclasses.field(default_factory=dict)
  yardstick: Optional[Outcome] = None
  shared: Optional[Outcome] = None
  known_newcomers: int = 0
  notes: tuple[str, ...] = ()


def read_run(
    folder: str | os.PathLike[str], *, unseen: Collection[str] = ()
) -> Run:
  """Reads a finished run.

  Args:
    folder: The folder that the run wrote its report to.
    unseen: The clients that were kept out of training.

  Raises:
    OSError: If a file cannot be read.
    errors.DataError: If no client that could take part has test data.
  """
  folder = pathlib.Path(folder)
  report = json.loads((folder / 'report.json').read_text(encoding='utf-8'))
  report['guarantee'] = _guarantee(folder)
  metric, candidate = report['metric'], report['candidate']
  tested, new = [], []
  with open(folder / 'clients.csv', newline='', encoding='utf-8') as f:
    for cells in csv.DictReader(f):
      row = {csv_cells.unescape(name): cell for name, cell in cells.items()}
      row['client_id'] = csv_cells.unescape(row['client_id'])
      if float(row[f'{metric}/weight']):
        (new if row['client_id'] in unseen else tested).append(row)
  if not tested:
    raise errors.DataError(
        f'Expected clients with test data in {folder}, found none that could'
        ' take part in training. Evaluate more clients.'
    )
  models = dict.fromkeys([candidate, *_compared_models(tested, report)])
  return Run(
      metric=metric_lib.Metric(metric, report['higher_is_better']),
      percent=report['percent'],
      outcomes={
          model: _outcome(tested, model, report)
          for model in models
          if not model.startswith(_NEWCOMER)
      },
      newcomers={
          model: _outcome(new, model, report)
          for model in _newcomer_models(new, report)
      },
      yardstick=_reference(tested, yardstick.MOST_FREQUENT, report),
      shared=_reference(tested, _SHARED, report),
      known_newcomers=sum(row['trained_earlier'] == '1' for row in new),
      notes=tuple(report.get('notes_for_comparisons', ())),
  )


def _reference(rows, model: str, report) -> Optional[Outcome]:
  """Results of a model that schemes are compared with, if there are some."""
  if f'p_hurt/{model}' not in rows[0]:
    return None
  return _outcome(rows, model, report)


def _newcomer_models(rows, report) -> list[str]:
  """The models of clients kept out of training: one for each policy.

  Without policies, as for FedAvg, it is the model that the run is about.
  """
  policies = [
      model
      for model in _compared_models(rows, report)
      if model.startswith(_NEWCOMER)
  ]
  return policies or ([report['candidate']] if rows else [])


def _compared_models(rows, report) -> list[str]:
  """The models that were tested against the baseline for all of the clients."""
  models = [
      column.removeprefix('p_hurt/')
      for column in (rows[0] if rows else ())
      if column.startswith('p_hurt/') and all(row[column] for row in rows)
  ]
  return [m for m in models if m not in (report['baseline'], *_REFERENCES)]


def _outcome(rows, model: str, report) -> Outcome:
  metric = report['metric']
  metrics = [c.removesuffix('/weight') for c in rows[0] if '/weight' in c]
  metrics.sort(key=lambda name: name != metric)
  # The yardstick has no values of other metrics.
  column = lambda name: np.array(
      [float(row.get(name) or 'nan') for row in rows]
  )
  by_metric = lambda name: {m: column(f'{m}/{name}') for m in metrics}
  p_hurt = 'p_hurt' if model == report['candidate'] else f'p_hurt/{model}'
  by_chance, testable = _power(model, len(rows), report)
  return Outcome(
      client_ids=tuple(row['client_id'] for row in rows),
      train_examples=column('train_examples'),
      values=by_metric(model),
      weights=by_metric('weight'),
      baseline=by_metric(report['baseline']),
      p_hurt=column(p_hurt),
      cost={
          **dict.fromkeys(_LATER_COSTS, 0),
          **report['cost'],
          'personal_bytes': sum(
              v['bytes'] for v in report['split'] if v['personal']
          ),
      },
      hurt_by_chance=by_chance,
      testable=testable,
      candidate=report['candidate'],
      baseline_model=report['baseline'],
      takers=(report['gate'] or {}).get('takers')
      if model == gate.GATED
      else None,
      **report['guarantee'],
  )


def _guarantee(folder: pathlib.Path) -> dict[str, float]:
  """The epsilon and delta of a run with differential privacy."""
  path = folder / 'privacy.json'
  if not path.exists():
    return {}
  found = json.loads(path.read_text(encoding='utf-8'))
  bound = found['epsilon']  # Infinity is null in JSON.
  return {
      'epsilon': math.inf if bound is None else bound,
      'delta': found['delta'],
  }


def _power(
    model: str, num_clients: int, report: Mapping[str, Any]
) -> tuple[float, float]:
  """What the tests of a model's clients can show, as shares of clients.

  NaN if the report's groups have other clients, too, as with clients that were
  kept out of training.
  """
  groups = [
      group['comparisons'].get(model) for group in report['groups'].values()
  ]
  if None in groups or num_clients != sum(
      group['change']['clients'] for group in groups
  ):
    return math.nan, math.nan
  return (
      sum(g['hurt']['expected_by_chance'] for g in groups) / num_clients,
      sum(g['testable'] for g in groups) / num_clients,
  )
