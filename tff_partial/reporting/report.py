# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The report of a run: who gained, who was hurt, and what it cost.

One dictionary holds every number. `report.json` is that dictionary, and
`report.html` is the same dictionary laid out for people, so the two cannot
disagree; `clients.csv` has a row for every client. The page is one file: its
figures are inside, it loads nothing, and it opens without a network.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import os
from typing import Optional

from matplotlib import figure as mpl_figure

from tff_partial.evaluation import client_table
from tff_partial.evaluation import summary
from tff_partial.learning import partition
from tff_partial.reporting import findings
from tff_partial.reporting import formatting
from tff_partial.reporting import page
from tff_partial.reporting import plots


def write_report(
    output_dir: str,
    *,
    title: str,
    settings: Mapping[str, object],
    split: Sequence[partition.VariableInfo],
    table: client_table.ClientTable,
    metric: str,
    higher_is_better: bool,
    baseline: str,
    candidate: str,
    history: Sequence[Mapping[str, float]],
    cost: summary.Cost,
    notes: Sequence[str] = (),
    gate: Optional[Mapping[str, float]] = None,
) -> str:
  """Writes `report.html`, `report.json` and `clients.csv`.

  Clients that took part in training and clients never seen are summarized
  apart; headline and figures are about the former where there are any.

  Args:
    output_dir: Where to write; made if missing.
    title: Of the page.
    settings: The run's settings by name.
    split: The model's variables.
    table: Test results of every client.
    metric: The metric that the report is about.
    higher_is_better: Whether more of it is good, as of accuracy.
    baseline: Model that clients would have without personalization.
    candidate: Model whose effect on clients is reported.
    history: For each logged round `round` and any of `train/<metric>` and
      `eval/<model>/<metric>`.
    cost: What the run took.
    notes: What the reader should know, a paragraph each.
    gate: Of a gated model, how many clients kept the shared one, and the like.

  Returns:
    The path of the page.

  Raises:
    ValueError: If `metric` was not measured under `baseline` and `candidate`
      on the same examples of one client at least.
    OSError: If a file cannot be written; an older one there is left whole.
  """
  question = findings.Question(metric, higher_is_better, baseline, candidate)
  groups = findings.groups(table)
  main = next(iter(groups.values()))
  contents = page.plain(
      {
          'title': title,
          **dataclasses.asdict(question),
          'percent': question.percent(table),
          'level': summary.LEVEL,
          'headline': findings.sentence(table, question),
          'groups': {
              name: findings.group_numbers(members, question)
              for name, members in groups.items()
          },
          'cost': cost.to_dict(),
          'split': [
              {**dataclasses.asdict(v), 'size': v.size, 'bytes': v.num_bytes}
              for v in split
          ],
          'history': history,
          'settings': settings,
          'notes': notes,
          'gate': gate,
      }
  )
  environment = page.environment(contents['percent'])
  html = environment.get_template('report.html.jinja').render(
      contents,
      figures={
          name: page.data_uri(figure)
          for name, figure in _figures(main, question, history).items()
      },
  )
  os.makedirs(output_dir, exist_ok=True)
  path = os.path.join(output_dir, 'report.html')
  page.write(
      os.path.join(output_dir, 'report.json'),
      page.to_json(contents),
  )
  page.write(
      os.path.join(output_dir, 'clients.csv'),
      findings.csv_rows(table, question),
  )
  page.write(path, html)
  return path


def headline(
    table: client_table.ClientTable,
    *,
    metric: str,
    higher_is_better: bool,
    baseline: str,
    candidate: str,
    cost: summary.Cost,
) -> str:
  """The end of a run in a few lines: what changed, for whom, at what cost.

  Arguments and errors are those of `write_report`.
  """
  question = findings.Question(metric, higher_is_better, baseline, candidate)
  main = next(iter(findings.groups(table).values()))
  percent = question.percent(table)
  worst = 0.1 if higher_is_better else 0.9
  lines = [findings.sentence(table, question)]
  for model in (baseline, candidate):
    numbers = summary.summarize(main, model, metric)
    mean = formatting.value(numbers.weighted_mean, percent)
    tail = formatting.value(numbers.weighted_quantiles[worst], percent)
    lines.append(
        f'  {formatting.model(model):18} mean {mean},'
        f' {100 * worst:.0f}th percentile {tail}'
    )
  lines.append(
      f'  {"Cost":18} {cost.gradient_steps:,} gradient steps,'
      f' {formatting.size(cost.bytes_down_per_client)} down and'
      f' {formatting.size(cost.bytes_up_per_client)} up per client and round,'
      f' {formatting.share(cost.personal_fraction)} of the parameters personal,'
      f' {formatting.duration(cost.seconds)}'
  )
  return '\n'.join(lines)


def _figures(
    table: client_table.ClientTable,
    question: findings.Question,
    history: Sequence[Mapping[str, float]],
) -> dict[str, mpl_figure.Figure]:
  """The page's figures by name; without a history there are no curves."""
  percent = question.percent(table)
  scale, unit = 1, formatting.words(question.metric)
  if percent:
    scale, unit = 100, f'{unit} (percentage points)'
  before = table.values(question.baseline, question.metric)
  after = table.values(question.candidate, question.metric)
  changes = scale * (after - before)
  better = question.higher_is_better
  figures = {
      'histogram': plots.change_histogram(
          changes, higher_is_better=better, unit=unit
      ),
      'scatter': plots.before_after(
          before,
          after,
          table.test_examples,
          higher_is_better=better,
          labels=(
              formatting.model(question.baseline),
              formatting.model(question.candidate),
          ),
          percent=percent,
      ),
      'by_size': plots.change_by_size(
          changes,
          table.train_examples,
          table.test_examples,
          higher_is_better=better,
          unit=unit,
      ),
  }
  logged = {key.rsplit('/', 1)[-1] for row in history for key in row}
  drawn = [m for m in dict.fromkeys((question.metric, 'loss')) if m in logged]
  if drawn:
    figures['curves'] = plots.learning_curves(
        history, drawn, percent=[question.metric] if percent else []
    )
  return figures
