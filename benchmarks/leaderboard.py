# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The table of results/leaderboard.md, and the curves of its runs.

python -m benchmarks.leaderboard --comparisons=out/compare --figure=curves.svg

The folder has what results/leaderboard.sh wrote. The table is Markdown: the
accuracy over all test examples of clients' models in the best round and in the
last one; what PFLlib publishes; the difference from clients that train alone,
with a 95% interval over clients, weighted by their test examples and with the
same weight for each; and how many clients are better and worse off than alone.
Runs without a curve, of fine-tuning and of clients alone, have their last
accuracy only.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Optional

from absl import app
from absl import flags
from matplotlib import figure as mpl_figure
from matplotlib import ticker
import numpy as np

from benchmarks import comparison_folder
from tff_partial.evaluation import comparison
from tff_partial.evaluation import run_results
from tff_partial.experiments import run_folder
from tff_partial.reporting import plots
from tff_partial.training import history


@dataclasses.dataclass(frozen=True)
class _Method:
  """A row of the table.

  Attributes:
    name: As people call it.
    folder: What follows `leaderboard` in the name of the comparison's folder.
    algorithm: The algorithm's name here.
    split: Which variables are personal.
    published: PFLlib's accuracy in percent, for all 20 clients.
  """

  name: str
  folder: str
  algorithm: str
  split: str
  published: Optional[float] = None


ALONE = _Method('every client alone', '_local', 'local', 'all')
METHODS = (
    _Method('FedAvg', '', 'fed_avg', 'none', 85.85),
    ALONE,
    _Method('FedAvg, fine-tuned: output', '_finetune', 'finetune', 'output'),
    _Method('FedAvg, fine-tuned: adapters', '_finetune', 'finetune', 'adapter'),
    _Method('FedAvg, fine-tuned: all', '_finetune', 'finetune', 'all'),
    _Method('FedPer (`fed_sim`, output)', '', 'fed_sim', 'output', 97.44),
    _Method('FedRep (`fed_alt`, output)', '', 'fed_rep', 'output', 97.56),
    _Method('`fed_sim`, adapters', '_adapter', 'fed_sim', 'adapter'),
    _Method('`fed_alt`, adapters', '_adapter', 'fed_alt', 'adapter'),
    _Method('Ditto', '_two_models', 'ditto', 'a copy of all', 97.47),
    _Method('APFL', '_two_models', 'apfl', 'a copy of all', 97.25),
    _Method('pFedMe', '_pfedme', 'pfedme', 'a copy of all', 97.25),
)
_COLUMNS = ('eval/personalized/accuracy', 'eval/non_personalized/accuracy')
FLAGS = flags.FLAGS


def _define_flags() -> None:
  flags.DEFINE_string('comparisons', None, 'The folder.', required=True)
  flags.DEFINE_string('figure', None, 'Gets the curves, an SVG file.')


def _runs(
    comparisons: pathlib.Path, method: _Method
) -> dict[int, pathlib.Path]:
  """The folders of a method's finished runs, by seed."""
  together = comparisons / f'leaderboard{method.folder}'
  found = {}
  for folder in (together, *comparisons.glob(f'{together.name}[0-9]*')):
    found.update(
        comparison_folder.folders(folder, method.algorithm, method.split)
    )
  return found


def schemes(comparisons: pathlib.Path) -> dict[_Method, comparison.Scheme]:
  """The finished runs of each method.

  Args:
    comparisons: The flag `--comparisons`.
  """
  found = {}
  for method in METHODS:
    runs = {
        seed: run_results.read_run(path)
        for seed, path in _runs(comparisons, method).items()
    }
    if runs:
      found[method] = comparison.Scheme(
          method.name,
          metric=next(iter(runs.values())).metric,
          full=False,
          outcomes={
              seed: next(iter(run.outcomes.values()))
              for seed, run in runs.items()
          },
      )
  return found


def curve(comparisons: pathlib.Path, method: _Method) -> dict[int, float]:
  """The accuracy of clients' models by round, of the first seed.

  Args:
    comparisons: The flag `--comparisons`.
    method: One that has finished.

  Returns:
    The accuracy after each round, which is none for a method without rounds.
  """
  runs = _runs(comparisons, method)
  rows = history.read(runs[min(runs)] / run_folder.METRICS)
  for column in _COLUMNS:
    if rows and column in rows[0]:
      return {int(row[history.KEY]): row[column] for row in rows}
  return {}


def table(
    comparisons: pathlib.Path,
    found: Mapping[_Method, comparison.Scheme],
) -> list[str]:
  """A line for each method.

  Args:
    comparisons: The flag `--comparisons`.
    found: What `schemes` returns.
  """
  lines = [
      '| method | best round | its accuracy | last accuracy | published, 20'
      ' clients | less alone | likewise, each client alike | better / worse'
      ' than alone |',
      '| --- | ---: | ---: | ---: | ---: | --- | --- | ---: |',
  ]
  alone = found.get(ALONE)
  for method, scheme in found.items():
    accuracies = curve(comparisons, method)
    best = max(accuracies, key=accuracies.__getitem__, default=None)
    difference = alike = None
    if alone is not None and method is not ALONE:
      difference = scheme.minus(alone)
      alike = _weighed_alike(scheme).minus(_weighed_alike(alone))
    cells = [
        method.name,
        '–' if best is None else f'{best}',
        '–' if best is None else f'{accuracies[best]:.2%}',
        f'{scheme.mean()[0]:.2%}',
        '–' if method.published is None else f'{method.published}%',
        comparison_folder.points(scheme, difference),
        comparison_folder.points(scheme, alike),
        '–'
        if difference is None
        else f'{difference.better:.0%} / {difference.worse:.0%}',
    ]
    lines.append(f'| {" | ".join(cells)} |')
  return lines


def _weighed_alike(scheme: comparison.Scheme) -> comparison.Scheme:
  outcomes = {
      seed: dataclasses.replace(
          outcome,
          weights={n: np.ones_like(w) for n, w in outcome.weights.items()},
      )
      for seed, outcome in scheme.outcomes.items()
  }
  return comparison.Scheme(
      scheme.name, metric=scheme.metric, full=scheme.full, outcomes=outcomes
  )


def draw(
    comparisons: pathlib.Path,
    found: Mapping[_Method, comparison.Scheme],
) -> mpl_figure.Figure:
  """Errors by round, and those of every client alone.

  Args:
    comparisons: The flag `--comparisons`.
    found: What `schemes` returns.
  """
  figure = plots.new_figure(width=6.4, height=3.8)
  axes = figure.subplots()
  plots.tidy(axes, x='Round', y='Test examples that are wrong')
  axes.set_yscale('log')  # FedAvg's are many times those of the others.
  axes.set_yticks([0.03, 0.04, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 0.8])
  axes.yaxis.set_major_formatter(ticker.PercentFormatter(xmax=1, decimals=0))
  axes.yaxis.set_minor_locator(ticker.NullLocator())
  shown = 0
  for method, scheme in found.items():
    accuracies = curve(comparisons, method)
    if accuracies:
      axes.plot(
          [*accuracies],
          [1 - accuracy for accuracy in accuracies.values()],
          color=plots.LINES[shown % len(plots.LINES)],
          linestyle='-' if shown < len(plots.LINES) else ':',
          label=scheme.name.replace('`', ''),
      )
      shown += 1
  if ALONE in found:
    axes.axhline(
        1 - found[ALONE].mean()[0],
        color=plots.SAME,
        linestyle='--',
        label=ALONE.name,
    )
  figure.legend(loc='outside right upper', frameon=False, fontsize=9)
  return figure


def main(argv: Sequence[str]) -> None:
  del argv
  comparisons = pathlib.Path(FLAGS.comparisons).expanduser()
  found = schemes(comparisons)
  print('\n'.join(table(comparisons, found)))
  if FLAGS.figure:
    plots.write_svg(
        pathlib.Path(FLAGS.figure).expanduser(), draw(comparisons, found)
    )


if __name__ == '__main__':
  _define_flags()
  app.run(main)
