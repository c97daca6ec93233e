# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What differential privacy costs each method: tables and a figure.

python -m benchmarks.privacy_price --runs=out/privacy --figure=privacy.svg

The folder has runs by the name ARM_EPSILON_SEED, and of clients that train
alone, local_SEED (results/privacy.sh). Each arm is judged by clients' models
after fine-tuning, if it has any. Tables are Markdown; differences are in
points, client by client over the same seeds, with 95% intervals over clients
and seeds.
"""

from collections.abc import Mapping, Sequence
import math
import pathlib
from typing import Optional

from absl import app
from absl import flags
from matplotlib import figure as mpl_figure
from matplotlib import ticker

from tff_partial import files
from tff_partial.evaluation import comparison
from tff_partial.evaluation import run_results
from tff_partial.experiments import run_folder
from tff_partial.reporting import plots

LOCAL, BASE = 'local', 'finetune'
_FINETUNED = 'finetuned'

FLAGS = flags.FLAGS
# By arm and epsilon.
Schemes = Mapping[tuple[str, float], comparison.Scheme]


def _define_flags() -> None:
  flags.DEFINE_string('runs', None, 'The folder of all runs.', required=True)
  flags.DEFINE_string('figure', None, 'Gets the figure, an SVG file.')


def read(folder: pathlib.Path) -> Schemes:
  """The finished runs of a folder; those of clients alone have epsilon 0.

  Args:
    folder: The flag `--runs`.
  """
  outcomes: dict[tuple[str, float], dict[int, run_results.Outcome]] = {}
  metric = None
  for path in sorted(folder.glob(f'*/{run_folder.REPORT_PAGE}')):
    *words, last = path.parent.name.split('_')
    epsilon = 0.0
    if words != [LOCAL]:
      epsilon = float(words.pop())
    run = run_results.read_run(path.parent)
    metric = run.metric
    first = next(iter(run.outcomes))
    model = _FINETUNED if _FINETUNED in run.outcomes else first
    outcomes.setdefault(('_'.join(words), epsilon), {})[int(last)] = (
        run.outcomes[model]
    )
  if metric is None:
    return {}
  return {
      key: comparison.Scheme(key[0], metric=metric, full=False, outcomes=found)
      for key, found in outcomes.items()
  }


def _arms(schemes: Schemes) -> list[str]:
  return list(dict.fromkeys(arm for arm, _ in schemes if arm != LOCAL))


def _epsilons(schemes: Schemes) -> list[float]:
  return sorted({epsilon for arm, epsilon in schemes if arm != LOCAL})


def _minus(
    scheme: Optional[comparison.Scheme], other: Optional[comparison.Scheme]
) -> str:
  found = None
  if scheme is not None and other is not None:
    found = scheme.minus(other)
  if found is None:
    return '–'
  return (
      f'{100 * found.mean:+.2f} ({100 * found.low:+.2f} to'
      f' {100 * found.high:+.2f})'
  )


def tables(schemes: Schemes) -> list[list[str]]:
  """Means, differences from FedAvg with fine-tuning, and from local training.

  Args:
    schemes: What `read` returns.
  """
  epsilons = _epsilons(schemes)
  head = [
      f'| arm |{"".join(f" {_number(e)} |" for e in epsilons)}',
      f'| --- |{" --- |" * len(epsilons)}',
  ]

  def table(cell_fn, arms):
    return head + [
        f'| {arm} |'
        + ''.join(f' {cell_fn(arm, epsilon)} |' for epsilon in epsilons)
        for arm in arms
    ]

  def mean(arm, epsilon):
    scheme = schemes.get((arm, epsilon))
    if scheme is None:
      return '–'
    return _mean(scheme)

  local = schemes.get((LOCAL, 0.0))
  arms = _arms(schemes)
  found = [
      table(mean, arms),
      table(
          lambda arm, e: _minus(schemes.get((arm, e)), schemes.get((BASE, e))),
          [arm for arm in arms if arm != BASE],
      ),
      table(lambda arm, e: _minus(schemes.get((arm, e)), local), arms),
  ]
  if local is not None:
    found.append(
        [f'Clients alone: {_mean(local)} over {len(local.seeds)} seeds.']
    )
  return found


def _mean(scheme: comparison.Scheme) -> str:
  """In percent, with the deviation over seeds if there are several."""
  mean, deviation = scheme.mean()
  found = f'{100 * mean:.2f}'
  return found if math.isnan(deviation) else f'{found} ± {100 * deviation:.2f}'


def _number(epsilon: float) -> str:
  return '∞' if math.isinf(epsilon) else f'{epsilon:g}'


def draw(schemes: Schemes) -> mpl_figure.Figure:
  """Accuracy against epsilon, with a line for each arm and for local training.

  Args:
    schemes: What `read` returns.
  """
  epsilons = _epsilons(schemes)
  figure = plots.new_figure(width=6.4, height=3.8)
  axes = figure.subplots()
  plots.tidy(axes, x='Epsilon', y='Accuracy after fine-tuning')
  axes.yaxis.set_major_formatter(ticker.PercentFormatter(xmax=1, decimals=0))
  axes.set_xticks(range(len(epsilons)), [_number(e) for e in epsilons])
  for i, arm in enumerate(_arms(schemes)):
    points = [
        (at, *schemes[arm, epsilon].mean())
        for at, epsilon in enumerate(epsilons)
        if (arm, epsilon) in schemes
    ]
    at, means, deviations = zip(*points)
    axes.errorbar(
        at,
        means,
        yerr=[0.0 if math.isnan(d) else d for d in deviations],
        color=plots.LINES[i % len(plots.LINES)],
        marker='o',
        markersize=4,
        capsize=2,
        label=arm.replace('_', ' '),
    )
  if (LOCAL, 0.0) in schemes:
    axes.axhline(
        schemes[LOCAL, 0.0].mean()[0],
        color=plots.SAME,
        linestyle='--',
        label='every client alone',
    )
  figure.legend(loc='outside right upper', frameon=False, fontsize=9)
  return figure


def main(argv: Sequence[str]) -> None:
  del argv
  schemes = read(pathlib.Path(FLAGS.runs).expanduser())
  print('\n\n'.join('\n'.join(lines) for lines in tables(schemes)))
  if FLAGS.figure:
    files.replace_text(
        pathlib.Path(FLAGS.figure).expanduser(),
        plots.to_svg(draw(schemes)).decode(),
    )


if __name__ == '__main__':
  _define_flags()
  app.run(main)
