# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The findings of a run: the headline, numbers and rows of its report.

Everything here is plain data, ready for JSON, CSV or a page. Layout is up to
`report`.
"""

import dataclasses
from typing import Optional

import numpy as np

from tff_partial.evaluation import client_table
from tff_partial.evaluation import csv_cells
from tff_partial.evaluation import metric as metric_lib
from tff_partial.evaluation import summary
from tff_partial.reporting import formatting

# The name of the model that more rounds without personalization would make.
CONTROL = 'control'
_WORST = 10  # The number of clients that are listed one by one.


@dataclasses.dataclass(frozen=True)
class ReportQuery:
  """What a report compares.

  Attributes:
    metric: The metric that decides who gains and who is hurt.
    baseline: The name of the model that clients have without personalization.
    candidate: The name of the model whose effect on clients is reported.
  """

  metric: metric_lib.Metric
  baseline: str
  candidate: str

  def compare(
      self, table: client_table.ClientTable, model: Optional[str] = None
  ) -> summary.Comparison:
    """Compares the candidate, or another model, with the baseline."""
    return summary.compare(
        table,
        self.metric,
        baseline=self.baseline,
        candidate=model or self.candidate,
    )

  def values(self, table: client_table.ClientTable, model: str) -> np.ndarray:
    """Each client's value of the metric under a model, float64 [clients]."""
    return table.values(model, self.metric.name)

  def summarize(
      self, table: client_table.ClientTable, model: str
  ) -> summary.Summary:
    """Summarizes the metric under a model."""
    return summary.summarize(table, model, self.metric.name)

  def models(self, table: client_table.ClientTable) -> list[str]:
    """The models under which all of the clients were evaluated.

    Some models are only for clients that never trained
    (`evaluation.TestedModel`).
    """
    tested = lambda model: table.weights(model, self.metric.name) > 0
    return [
        model
        for model, metrics in table.scores.items()
        if self.metric.name in metrics
        and np.array_equal(tested(model), tested(self.baseline))
    ]

  def percent(self, table: client_table.ClientTable) -> bool:
    """Whether the metric is shown in percent (`Metric.shown_in_percent`)."""
    return self.metric.shown_in_percent(
        np.array([self.values(table, model) for model in self.models(table)])
    )


def groups(
    table: client_table.ClientTable, query: ReportQuery
) -> dict[str, client_table.ClientTable]:
  """The clients that took part in training, and the others.

  The others are those that trained only the model that training started from,
  and those never seen.

  Returns:
    Tables by name. Groups without test examples that the metric counts are left
    out.

  Raises:
    errors.SettingsError: If no client has such test examples, or there is no
      such metric.
  """
  query.summarize(table, query.baseline)  # Raises if there is nothing.
  masks = {
      'participated': table.participated,
      'trained_earlier': ~table.participated & table.earlier,
      'never_seen': ~table.participated & ~table.earlier,
  }
  counted = table.weights(query.baseline, query.metric.name) > 0
  return {
      name: table.select(mask)
      for name, mask in masks.items()
      if counted[mask].any()
  }


def sentence(table: client_table.ClientTable, query: ReportQuery) -> str:
  """The headline: what the candidate does to the first of the groups.

  The verb follows from the 95% interval of the change: without 0 in it, the
  candidate improves or worsens the metric, and else there is no clear change.
  """
  by_name = groups(table, query)
  name, members = next(iter(by_name.items()))
  comparison = query.compare(members)
  subjects = {
      'personalized': 'Personalization',
      'finetuned': 'Fine-tuning',
      'trained_alone': 'Training alone',
      'non_personalized': 'Training',
  }
  subject = subjects.get(
      query.candidate, f'Model {formatting.words(query.candidate)!r}'
  )
  whom = {
      'participated': ' that took part in training' if len(by_name) > 1 else '',
      'trained_earlier': ' that trained only the model to start from',
      'never_seen': ' never seen in training',
  }[name]
  clients = formatting.quantity(comparison.change.clients, 'client')
  unknown = comparison.change.clients - np.isfinite(comparison.changes).sum()
  if unknown:
    return (
        f'Nothing can be said about {formatting.words(query.metric.name)},'
        f' which is not a finite number at {unknown:,} of {clients}{whom}.'
    )
  return (
      f'{subject} {_effect(members, query, query.percent(table))} over'
      f' {clients}{whom}: {_affected(comparison)}.'
      f'{_versus_control(members, query, query.percent(table))}'
  )


def _effect(
    table: client_table.ClientTable, query: ReportQuery, percent: bool
) -> str:
  """The means, their change, and a verb that fits its interval."""
  before, after = (
      formatting.value(
          query.summarize(table, model).weighted_mean, percent, digits=1
      )
      for model in (query.baseline, query.candidate)
  )
  comparison = query.compare(table)
  metric = formatting.words(query.metric.name)
  if comparison.equal == comparison.change.clients:
    return f'leaves {metric} at {before}'
  change = formatting.change(comparison.change.weighted_mean, percent)
  if percent:
    change += ' points'
  if not np.isfinite([comparison.low, comparison.high]).all():
    return f'changes {metric} from {before} to {after} ({change}, no interval)'
  ends = sorted(
      query.metric.sign * end for end in (comparison.low, comparison.high)
  )
  interval = formatting.interval(comparison.low, comparison.high, percent)
  if ends[0] > 0 or ends[1] < 0:
    verb = 'improves' if ends[0] > 0 else 'worsens'
    return f'{verb} {metric} from {before} to {after} ({change}, {interval})'
  return (
      f'makes no clear change to {metric} ({before} to {after}, {change},'
      f' {interval})'
  )


def _versus_control(
    table: client_table.ClientTable, query: ReportQuery, percent: bool
) -> str:
  """What is left of the effect compared with the control, if there is one."""
  if CONTROL not in query.models(table):
    return ''
  control = formatting.value(
      query.summarize(table, CONTROL).weighted_mean, percent, digits=1
  )
  against = dataclasses.replace(query, baseline=CONTROL).compare(table)
  change = formatting.change(against.change.weighted_mean, percent)
  points = ' points' if percent else ''
  interval = formatting.interval(against.low, against.high, percent)
  return (
      f' Compared with the control, as many more rounds of FedAvg ({control}),'
      f' the difference is {change}{points} ({interval}).'
  )


def _affected(comparison: summary.Comparison) -> str:
  """How many clients are better or worse, and what is known about which."""
  hurt, helped = comparison.hurt, comparison.helped
  if not hurt.clients + helped.clients:
    return 'none is better or worse'
  number_is = formatting.number_is
  text = (
      f'{number_is(helped.clients)} better and {number_is(hurt.clients)} worse'
      f' (sign test over clients, p{formatting.p_relation(comparison.p_sign)})'
  )
  if not comparison.testable:
    return f'{text}, with too few test examples per client to say which'
  if hurt.clients:
    text += (
        f'; {number_is(hurt.beyond_chance)} worse by more than chance (chance'
        f' alone gives {hurt.expected_by_chance:.1f})'
    )
  if 2 * comparison.testable < comparison.change.clients:
    able = formatting.quantity(comparison.testable, 'client')
    text += f'; only {able} had enough test examples to show a change'
  return text


def group_numbers(
    table: client_table.ClientTable,
    query: ReportQuery,
    *,
    lists_clients: bool = True,
) -> dict[str, object]:
  """Every number about one group of clients, and who is hurt most."""
  models = query.models(table)
  return {
      'headline': sentence(table, query),
      'clients': len(table.client_ids),
      'train_examples': table.train_examples.sum(),
      'test_examples': table.test_examples.sum(),
      'models': {
          model: dataclasses.asdict(query.summarize(table, model))
          for model in models
      },
      'comparisons': {
          model: query.compare(table, model).to_dict() for model in models
      },
      'worst_clients': _worst_clients(table, query) if lists_clients else [],
  }


def _worst_clients(
    table: client_table.ClientTable, query: ReportQuery
) -> list[dict[str, object]]:
  """The clients that lose most, the greatest loss first."""
  comparison = query.compare(table)
  before = query.values(table, query.baseline)
  after = query.values(table, query.candidate)
  gains = query.metric.gain(before, after)
  return [
      {
          'client_id': table.client_ids[i],
          'train_examples': table.train_examples[i],
          'test_examples': table.test_examples[i],
          'before': before[i],
          'after': after[i],
          'change': comparison.changes[i],
          'p_hurt': comparison.p_hurt[i],
      }
      for i in np.argsort(gains, kind='stable')[:_WORST]
      if gains[i] < 0
  ]


def csv_rows(table: client_table.ClientTable, query: ReportQuery) -> str:
  """Makes a CSV file with a row for each client.

  Its columns are the client's numbers of examples, every metric under every
  model, the change, and the p-values of the paired tests. Cells are empty where
  there is no number. Text that a spreadsheet would compute has a quote in front
  (`csv_cells`).
  """
  comparison = query.compare(table)
  tested = table.weights(query.baseline, query.metric.name) > 0
  columns = {
      'client_id': [csv_cells.escape(c) for c in table.client_ids],
      'participated': table.participated.astype(int),
      'trained_earlier': table.earlier.astype(int),
      'train_examples': table.train_examples,
      'test_examples': table.test_examples,
  }
  for model, metrics in table.scores.items():
    for metric in metrics:
      columns[f'{metric}/{model}'] = table.values(model, metric)
      # The same under every model that all clients are evaluated under.
      columns[f'{metric}/weight'] = table.weights(query.baseline, metric)
  columns[f'{query.metric.name}/change'] = comparison.changes
  columns['p_hurt'] = np.where(tested, comparison.p_hurt, np.nan)
  columns['p_helped'] = np.where(tested, comparison.p_helped, np.nan)
  p_hurt: dict[str, np.ndarray] = {}
  # Some models are evaluated only at clients that never trained.
  for members in groups(table, query).values():
    rows = np.isin(table.client_ids, members.client_ids)
    for model in query.models(members):
      if model not in (query.baseline, query.candidate):
        column = p_hurt.setdefault(model, np.full(len(tested), np.nan))
        column[rows] = query.compare(members, model).p_hurt
  for model, column in p_hurt.items():
    columns[f'p_hurt/{model}'] = np.where(tested, column, np.nan)
  lines = [csv_cells.line(map(csv_cells.escape, columns))]
  for row in zip(*columns.values()):
    lines.append(csv_cells.line('' if x != x else x for x in row))  # NaN
  return ''.join(lines)
