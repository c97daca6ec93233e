# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The report about one person who was added to a run."""

from collections.abc import Mapping, Sequence
import dataclasses
import os
import pathlib
from typing import Any

from tff_partial import files
from tff_partial.evaluation import client_table
from tff_partial.evaluation import metric as metric_lib
from tff_partial.reporting import findings
from tff_partial.reporting import formatting
from tff_partial.reporting import page


@dataclasses.dataclass(frozen=True)
class ClientReport:
  """What a person has of the run.

  Attributes:
    run: The name of the run.
    settings: How the person was added, by name.
    table: Results of this one client under the models `shared`, with which it
      began, and `personalized`.
    metric: The metric that decides which is better.
    notes: What a reader must know, a paragraph each.
  """

  run: str
  settings: Mapping[str, Any]
  table: client_table.ClientTable
  metric: metric_lib.Metric
  notes: Sequence[str] = ()

  @property
  def client_id(self) -> str:
    return self.table.client_ids[0]

  @property
  def headline(self) -> str:
    """What the personal variables do for the person, in a sentence."""
    before, after = (
        formatting.value(self._value(model), self._percent)
        for model in ('shared', 'personalized')
    )
    change = formatting.change(
        self._value('personalized') - self._value('shared'), self._percent
    )
    points = ' points' if self._percent else ''
    examples = formatting.quantity(self.table.test_examples[0], 'test example')
    return (
        f'{formatting.words(self.metric.name)} goes from {before} to'
        f' {after} ({change}{points}) on {examples}'
    )

  @property
  def contents(self) -> dict[str, Any]:
    """Every number of the report, ready for JSON."""
    compared = self._query.compare(self.table)
    return page.plain(
        {
            'client': self.client_id,
            'run': self.run,
            'headline': self.headline,
            'settings': self.settings,
            'train_examples': self.table.train_examples[0],
            'test_examples': self.table.test_examples[0],
            'metric': self.metric.name,
            'higher_is_better': self.metric.higher_is_better,
            'models': {
                model: {
                    metric: self.table.values(model, metric)[0]
                    for metric in metrics
                }
                for model, metrics in self.table.scores.items()
            },
            'change': compared.changes[0],
            'p_hurt': compared.p_hurt[0],
            'p_helped': compared.p_helped[0],
            'notes': list(self.notes),
        }
    )

  @property
  def _query(self) -> findings.ReportQuery:
    return findings.ReportQuery(self.metric, 'shared', 'personalized')

  @property
  def _percent(self) -> bool:
    return self._query.percent(self.table)

  def _value(self, model: str) -> float:
    return float(self._query.values(self.table, model)[0])

  def to_html(self) -> str:
    """The report as a page."""
    environment = page.environment(self._percent)
    return environment.get_template('client.html.jinja').render(self.contents)


def write(path: str | os.PathLike[str], report: ClientReport) -> None:
  """Writes a JSON file and, at the end, a page.

  Args:
    path: Of both files, without the ends `.json` and `.html` of their names.
    report: What to write.

  Raises:
    OSError: If a file cannot be written; existing files are then left whole.
  """
  text = page.to_json(report.contents)
  files.replace_text(pathlib.Path(f'{os.fspath(path)}.json'), text)
  files.replace_text(pathlib.Path(f'{os.fspath(path)}.html'), report.to_html())
