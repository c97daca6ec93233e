# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run found: the sentence, the numbers and the rows of its report.

Everything here is plain data, ready for JSON, CSV or a page; how it looks is
for the report to say.
"""

import csv
import dataclasses
import io
from typing import Optional

import numpy as np

from tff_partial import errors
from tff_partial.evaluation import client_table
from tff_partial.evaluation import summary
from tff_partial.reporting import formatting

_WORST = 10  # Clients listed one by one.


@dataclasses.dataclass(frozen=True)
class Question:
  """What the report is about, as in `write_report`."""

  metric: str
  higher_is_better: bool
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
        higher_is_better=self.higher_is_better,
    )

  def models(self, table: client_table.ClientTable) -> list[str]:
    """The models for which the metric was measured, at all of the clients.

    Some are only for clients that never trained (`evaluation.TestedModel`).
    """
    tested = lambda model: table.weights(model, self.metric) > 0
    return [
        model
        for model, metrics in table.scores.items()
        if self.metric in metrics
        and np.array_equal(tested(model), tested(self.baseline))
    ]

  def percent(self, table: client_table.ClientTable) -> bool:
    """Whether people read the metric in percent, as they do accuracy.

    They do where more is better and all of it is 1; a word error rate can
    exceed 1 and is customarily left as it is.
    """
    models = self.models(table)
    found = np.array([table.values(model, self.metric) for model in models])
    found = found[np.isfinite(found)]
    return self.higher_is_better and bool(((0 <= found) & (found <= 1)).all())


def groups(
    table: client_table.ClientTable,
) -> dict[str, client_table.ClientTable]:
  """Clients with a part in training, then those never seen; none is empty."""
  masks = {
      'participated': table.participated,
      'never_seen': ~table.participated,
  }
  found = {
      name: table.select(mask)
      for name, mask in masks.items()
      if table.test_examples[mask].any()
  }
  if not found:
    raise errors.SettingsError(
        'Expected test examples at one client at least, found none at'
        f' {len(table.client_ids)} clients. Evaluate on clients with test data.'
    )
  return found


def sentence(table: client_table.ClientTable, question: Question) -> str:
  """What the candidate did to the first of the groups."""
  by_name = groups(table)
  name, members = next(iter(by_name.items()))
  percent = question.percent(table)
  before, after = (
      formatting.value(
          summary.summarize(members, model, question.metric).weighted_mean,
          percent,
          digits=1,
      )
      for model in (question.baseline, question.candidate)
  )
  comparison = question.compare(members)
  change, hurt = comparison.change, comparison.hurt
  subjects = {
      'personalized': 'Personalization',
      'finetuned': 'Fine-tuning',
      'trained_alone': 'Training alone',
      'non_personalized': 'Training',
  }
  subject = subjects.get(
      question.candidate, f'Model {formatting.words(question.candidate)!r}'
  )
  metric = formatting.words(question.metric)
  verb = 'lifts' if change.weighted_mean > 0 else 'lowers'
  effect = (
      f'leaves {metric} at {before}'
      if before == after
      else f'{verb} {metric} from {before} to {after}'
  )
  whom = {
      'participated': ' that took part in training' if len(by_name) > 1 else '',
      'never_seen': ' never seen in training',
  }[name]
  chance = hurt.expected_by_chance / change.clients
  losses = (
      f'{formatting.share(hurt.share)} of clients are worse'
      f' ({formatting.share(hurt.beyond_chance_share)} by more than chance;'
      f' chance alone gives {formatting.share(chance)})'
  )
  return (
      f'{subject} {effect} over {formatting.quantity(change.clients, "client")}'
      f'{whom}; {losses if hurt.clients else "no client is worse"}.'
  )


def group_numbers(
    table: client_table.ClientTable, question: Question
) -> dict[str, object]:
  """Every number about one group of clients."""
  models = question.models(table)
  return {
      'headline': sentence(table, question),
      'clients': len(table.client_ids),
      'train_examples': table.train_examples.sum(),
      'test_examples': table.test_examples.sum(),
      'models': {
          model: dataclasses.asdict(
              summary.summarize(table, model, question.metric)
          )
          for model in models
      },
      'comparisons': {
          model: question.compare(table, model).to_dict() for model in models
      },
      'worst_clients': _worst_clients(table, question),
  }


def _worst_clients(
    table: client_table.ClientTable, question: Question
) -> list[dict[str, object]]:
  """The clients that lost most, the greatest loss first."""
  comparison = question.compare(table)
  sign = 1 if question.higher_is_better else -1
  gains = sign * comparison.changes
  before = table.values(question.baseline, question.metric)
  after = table.values(question.candidate, question.metric)
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


def csv_rows(table: client_table.ClientTable, question: Question) -> str:
  """A row a client: its data, every metric under every model, the test."""
  comparison = question.compare(table)
  tested = table.weights(question.baseline, question.metric) > 0
  columns = {
      'client_id': table.client_ids,
      'participated': table.participated.astype(int),
      'train_examples': table.train_examples,
      'test_examples': table.test_examples,
  }
  for model, metrics in table.scores.items():
    for metric in metrics:
      columns[f'{metric}/{model}'] = table.values(model, metric)
      # The same under every model that all clients are tested under.
      columns[f'{metric}/weight'] = table.weights(question.baseline, metric)
  columns[f'{question.metric}/change'] = comparison.changes
  columns['p_hurt'] = np.where(tested, comparison.p_hurt, np.nan)
  columns['p_helped'] = np.where(tested, comparison.p_helped, np.nan)
  p_hurt: dict[str, np.ndarray] = {}
  # Some models are only for clients that never trained.
  for members in groups(table).values():
    rows = np.isin(table.client_ids, members.client_ids)
    for model in question.models(members):
      if model not in (question.baseline, question.candidate):
        column = p_hurt.setdefault(model, np.full(len(tested), np.nan))
        column[rows] = question.compare(members, model).p_hurt
  for model, column in p_hurt.items():
    columns[f'p_hurt/{model}'] = np.where(tested, column, np.nan)
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(columns)
  for row in zip(*columns.values()):
    writer.writerow('' if cell != cell else cell for cell in row)  # NaN
  return text.getvalue()
