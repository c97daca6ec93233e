# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The report of a run: who gained, who was hurt, and what it cost.

One dictionary holds every number. `report.json` is that dictionary, and
`report.html` is the same dictionary laid out for readers, so the two cannot
disagree. `clients.csv` has a row for every client. The page is a single file:
its figures are inside, it loads nothing, and it opens without a network.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import os
import pathlib
from typing import Any, Optional

from matplotlib import figure as mpl_figure

from tff_partial import files
from tff_partial.evaluation import client_table
from tff_partial.evaluation import metric as metric_lib
from tff_partial.evaluation import summary
from tff_partial.learning import partition
from tff_partial.reporting import by_budget
from tff_partial.reporting import findings
from tff_partial.reporting import formatting
from tff_partial.reporting import page
from tff_partial.reporting import plots


@dataclasses.dataclass(frozen=True)
class RunReport:
  """Everything that the report of a run is made from.

  Attributes:
    title: The title of the page.
    settings: The run's settings by name.
    variables: The model's variables.
    table: Test results of every client.
    metric: The metric that decides who gains and who is hurt.
    baseline: The name of the model that clients have without personalization.
    candidate: The name of the model whose effect on clients is reported.
    history: For each logged round, `round` and any of `train/<metric>` and
      `eval/<model>/<metric>`.
    cost: The cost of the run.
    leaves_client: What leaves a client in a round, as a sentence.
    notes: Remarks for the reader, a paragraph each.
    notes_for_comparisons: Those of them that a comparison with other runs
      repeats.
    lists_clients: Whether to list the clients that are hurt most.
    gate: For a run with a gate, its numbers by name, such as how many clients
      kept the shared model.
    curves_on_validation: Whether `eval/...` in `history` was measured on
      examples held out of training, rather than on test examples.
    privacy: What differential privacy promises, a title and a sentence each;
      empty without it.
    budgets: How much of the model is personal for each client; `None` if it is
      the same for all.
  """

  title: str
  settings: Mapping[str, object]
  variables: Sequence[partition.VariableInfo]
  table: client_table.ClientTable
  metric: metric_lib.Metric
  baseline: str
  candidate: str
  history: Sequence[Mapping[str, float]]
  cost: summary.Cost
  leaves_client: str
  notes: Sequence[str] = ()
  notes_for_comparisons: Sequence[str] = ()
  lists_clients: bool = True
  gate: Optional[Mapping[str, float]] = None
  curves_on_validation: bool = False
  privacy: Sequence[tuple[str, str]] = ()
  budgets: Optional[by_budget.Budgets] = None

  @functools.cached_property
  def query(self) -> findings.ReportQuery:
    """What the report compares, in percent for all groups or for none."""
    query = findings.ReportQuery(self.metric, self.baseline, self.candidate)
    percent = query.percent(self.table)
    metric = dataclasses.replace(self.metric, percent=percent)
    return dataclasses.replace(query, metric=metric)


def write(
    folder: str | os.PathLike[str], run_report: RunReport
) -> pathlib.Path:
  """Writes `report.json`, `clients.csv` and, at the end, `report.html`.

  Clients that took part in training, clients that trained only the model that
  it started from, and clients never seen are summarized separately. The
  headline and the figures are about the first of these groups that has clients.
  Once `report.html` is there, all of the report is on disk.

  Args:
    folder: Where to write; created if missing.
    run_report: What to write.

  Returns:
    The path of the page.

  Raises:
    errors.SettingsError: If the metric was not measured under the baseline and
      the candidate, on the same examples of one client at least.
    OSError: If a file cannot be written; existing files are then left whole.
  """
  folder = pathlib.Path(folder)
  contents = _contents(run_report)
  html = _render(run_report, contents)
  rows = findings.csv_rows(run_report.table, run_report.query)
  folder.mkdir(parents=True, exist_ok=True)
  files.replace_text(folder / 'report.json', page.to_json(contents))
  files.replace_text(folder / 'clients.csv', rows)
  path = folder / 'report.html'
  files.replace_text(path, html)
  return path


def _contents(run_report: RunReport) -> dict[str, Any]:
  """Every number of the report, ready for JSON."""
  table, query = run_report.table, run_report.query
  return page.plain(
      {
          'title': run_report.title,
          'metric': run_report.metric.name,
          'higher_is_better': run_report.metric.higher_is_better,
          'baseline': run_report.baseline,
          'candidate': run_report.candidate,
          'percent': query.percent(table),
          'level': summary.LEVEL,
          'headline': findings.sentence(table, query),
          'groups': {
              name: findings.group_numbers(
                  members, query, lists_clients=run_report.lists_clients
              )
              for name, members in findings.groups(table, query).items()
          },
          'budgets': _by_budget(run_report),
          'cost': run_report.cost.to_dict(),
          'gain_per_kilobyte': _gain_per_kilobyte(run_report),
          'leaves_client': run_report.leaves_client,
          'split': [
              {**dataclasses.asdict(v), 'size': v.size, 'bytes': v.num_bytes}
              for v in run_report.variables
          ],
          'history': run_report.history,
          'curves_on_validation': run_report.curves_on_validation,
          'settings': run_report.settings,
          'notes': run_report.notes,
          'notes_for_comparisons': run_report.notes_for_comparisons,
          'gate': run_report.gate,
          'lists_clients': run_report.lists_clients,
          'privacy': dict(run_report.privacy),
      }
  )


def _main_group(run_report: RunReport) -> client_table.ClientTable:
  """The clients that the headline is about."""
  groups = findings.groups(run_report.table, run_report.query)
  return next(iter(groups.values()))


def _by_budget(run_report: RunReport) -> list[dict[str, object]]:
  """The headline's clients, by how much of the model is personal for them."""
  if run_report.budgets is None:
    return []
  return by_budget.numbers(
      _main_group(run_report), run_report.query, run_report.budgets
  )


def _gain_per_kilobyte(run_report: RunReport) -> float | None:
  """The gain of the first group of clients, per kB that each one stores."""
  main = _main_group(run_report)
  change = run_report.query.compare(main).change.weighted_mean
  stored: float = sum(v.num_bytes for v in run_report.variables if v.personal)
  if run_report.budgets is not None:
    stored = run_report.budgets.mean_bytes(main)
  return formatting.per_kilobyte(run_report.metric.sign * change, stored)


def _render(run_report: RunReport, contents: Mapping[str, Any]) -> str:
  """Lays the numbers out as a page."""
  main = _main_group(run_report)
  figures = _figures(main, run_report.query, run_report.history)
  environment = page.environment(contents['percent'])
  return environment.get_template('report.html.jinja').render(
      contents,
      figures={name: page.data_uri(figure) for name, figure in figures.items()},
  )


def _figures(
    table: client_table.ClientTable,
    query: findings.ReportQuery,
    history: Sequence[Mapping[str, float]],
) -> dict[str, mpl_figure.Figure]:
  """The page's figures by name; without a history there are no curves."""
  percent = query.percent(table)
  scale, unit = 1, formatting.words(query.metric.name)
  if percent:
    scale, unit = 100, f'{unit} (percentage points)'
  before = query.values(table, query.baseline)
  after = query.values(table, query.candidate)
  changes = scale * (after - before)
  figures = {
      'histogram': plots.change_histogram(
          changes, metric=query.metric, unit=unit
      ),
      'scatter': plots.before_after(
          before,
          after,
          table.test_examples,
          metric=query.metric,
          labels=(
              formatting.model(query.baseline),
              formatting.model(query.candidate),
          ),
          percent=percent,
      ),
      'by_size': plots.change_by_size(
          changes,
          table.train_examples,
          table.test_examples,
          metric=query.metric,
          unit=unit,
      ),
  }
  logged = {key.rsplit('/', 1)[-1] for row in history for key in row}
  name = query.metric.name
  drawn = [m for m in dict.fromkeys((name, 'loss')) if m in logged]
  if drawn:
    figures['curves'] = plots.learning_curves(
        history, drawn, percent=[name] if percent else []
    )
  return figures
