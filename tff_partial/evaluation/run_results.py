# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What finished runs wrote, read again: each client's numbers by model."""

from collections.abc import Collection, Mapping
import csv
import dataclasses
import json
import os
import pathlib

import numpy as np

from tff_partial import errors

# Models that are not a scheme's result but what it is compared with.
_REFERENCES = ('initial', 'shared')
# What a client that never trained can have is called so, and its policy.
_NEWCOMER = 'new_'


@dataclasses.dataclass(frozen=True)
class Key:
  """What a run is called.

  Attributes:
    algorithm: Its name, with a remark if it is a variant.
    split: Which variables are personal, in words.
    full: Whether all of the model is personalized.
    seed: Of the run.
  """

  algorithm: str
  split: str
  full: bool
  seed: int


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What one model of one run gives to clients; arrays are [clients].

  Attributes:
    client_ids: Clients with test data, in order.
    train_examples: What each has for training.
    values: By metric, what each client gets.
    weights: By metric, what each client's value counts in the mean.
    baseline: By metric, what each client had under the run's baseline.
    p_hurt: One-sided p-value of each client's paired test (`summary.compare`).
    cost: Of the run, as `summary.Cost.to_dict`.
  """

  client_ids: tuple[str, ...]
  train_examples: np.ndarray
  values: Mapping[str, np.ndarray]
  weights: Mapping[str, np.ndarray]
  baseline: Mapping[str, np.ndarray]
  p_hurt: np.ndarray
  cost: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Run:
  """What a run wrote.

  Attributes:
    metric: That decides who gains and who is hurt.
    higher_is_better: Whether more of it is good.
    percent: Whether people read it in percent.
    outcomes: By the model's name, for clients that could take part; the run's
      candidate first.
    newcomers: By the policy's name, for clients kept out of training.
  """

  metric: str
  higher_is_better: bool
  percent: bool
  outcomes: Mapping[str, Outcome]
  newcomers: Mapping[str, Outcome] = dataclasses.field(default_factory=dict)


def read_run(
    folder: str | os.PathLike[str], *, unseen: Collection[str] = ()
) -> Run:
  """Reads a finished run.

  Args:
    folder: The run's output.
    unseen: The clients that were kept out of training.

  Raises:
    OSError: If a file is not there.
    ValueError: If no client with test data remains.
  """
  folder = pathlib.Path(folder)
  report = json.loads((folder / 'report.json').read_text(encoding='utf-8'))
  metric, candidate = report['metric'], report['candidate']
  tested, new = [], []
  with open(folder / 'clients.csv', newline='', encoding='utf-8') as f:
    for row in csv.DictReader(f):
      if float(row[f'{metric}/weight']):
        (new if row['client_id'] in unseen else tested).append(row)
  if not tested:
    raise errors.DataError(
        f'Expected clients with test data in {folder}, found none that were in'
        ' training. Test more clients.'
    )
  models = dict.fromkeys([candidate, *_compared_models(tested, report)])
  return Run(
      metric=metric,
      higher_is_better=report['higher_is_better'],
      percent=report['percent'],
      outcomes={
          model: _outcome(tested, model, report)
          for model in models
          if not model.startswith(_NEWCOMER)
      },
      newcomers={
          model: _outcome(new, model, report)
          for model in _compared_models(new, report)
          if model.startswith(_NEWCOMER)
      },
  )


def _compared_models(rows, report) -> list[str]:
  """Models with a test against the baseline at every one of the clients."""
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
  column = lambda name: np.array([float(row[name] or 'nan') for row in rows])
  by_metric = lambda name: {m: column(f'{m}/{name}') for m in metrics}
  p_hurt = 'p_hurt' if model == report['candidate'] else f'p_hurt/{model}'
  return Outcome(
      client_ids=tuple(row['client_id'] for row in rows),
      train_examples=column('train_examples'),
      values=by_metric(model),
      weights=by_metric('weight'),
      baseline=by_metric(report['baseline']),
      p_hurt=column(p_hurt),
      cost=report['cost'],
  )
