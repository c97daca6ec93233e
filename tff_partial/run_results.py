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

# Models that are not a scheme's result but what it is compared with.
_REFERENCES = ('initial', 'shared')


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
    outcomes: By the model's name; the run's candidate first.
  """

  metric: str
  higher_is_better: bool
  percent: bool
  outcomes: Mapping[str, Outcome]


def read_run(
    folder: str | os.PathLike[str], *, without: Collection[str] = ()
) -> Run:
  """Reads a finished run.

  Args:
    folder: The run's output.
    without: Clients to leave out, such as those kept out of training.

  Raises:
    OSError: If a file is not there.
    ValueError: If no client with test data remains.
  """
  folder = pathlib.Path(folder)
  report = json.loads((folder / 'report.json').read_text(encoding='utf-8'))
  metric, baseline = report['metric'], report['baseline']
  candidate = report['candidate']
  with open(folder / 'clients.csv', newline='', encoding='utf-8') as f:
    rows = [
        row
        for row in csv.DictReader(f)
        if row['client_id'] not in without and float(row[f'{metric}/weight'])
    ]
  if not rows:
    raise ValueError(
        f'Expected clients with test data in {folder}, found none that were in'
        ' training. Test more clients.'
    )
  metrics = [c.removesuffix('/weight') for c in rows[0] if '/weight' in c]
  metrics.sort(key=lambda name: name != metric)
  column = lambda name: np.array([float(row[name] or 'nan') for row in rows])
  by_metric = lambda name: {m: column(f'{m}/{name}') for m in metrics}
  models = [
      model
      for group in report['groups'].values()
      for model in group['models']
      # Without the column it is a model of clients never seen alone.
      if model not in (baseline, candidate, *_REFERENCES)
      and f'p_hurt/{model}' in rows[0]
  ]

  def outcome(model: str) -> Outcome:
    name = 'p_hurt' if model == candidate else f'p_hurt/{model}'
    return Outcome(
        client_ids=tuple(row['client_id'] for row in rows),
        train_examples=column('train_examples'),
        values=by_metric(model),
        weights=by_metric('weight'),
        baseline=by_metric(baseline),
        p_hurt=column(name),
        cost=report['cost'],
    )

  return Run(
      metric=metric,
      higher_is_better=report['higher_is_better'],
      percent=report['percent'],
      outcomes={
          model: outcome(model) for model in dict.fromkeys([candidate, *models])
      },
  )
