# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The report that compares schemes: a page, tables in Markdown, and figures.

As in `report`, one dictionary holds every number. `comparison.json` is that
dictionary; `comparison.html` and `comparison.md` lay it out.
"""

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import os
import pathlib
from typing import Any

from matplotlib import figure as mpl_figure

from tff_partial import errors
from tff_partial import files
from tff_partial.evaluation import comparison
from tff_partial.evaluation import run_results
from tff_partial.reporting import comparison_plots
from tff_partial.reporting import formatting
from tff_partial.reporting import page
from tff_partial.reporting import plots
from tff_partial.reporting import tuning_report

# The shares of intervals of two schemes that do not differ without 0 in them,
# with 3 seeds (`benchmarks.coverage`).
_FALSE_EXCLUSIONS = (0.05, 0.09)

_GATE = (
    'With the gate, a client takes the model of its scheme only if it is better'
    ' than the baseline on examples held out of training. A coin lets as many'
    ' clients of each run take it, whoever they are. Shares of clients and'
    ' deciles are those of each run, averaged over seeds, and 95% of such'
    ' averages are in the range of coins. The mean is weighted by test data,'
    ' with the interval of pairs of schemes. The decile counts all clients'
    ' alike; its interval, by bootstrap, is over clients alone and says nothing'
    ' about other seeds.'
)


def write(
    folder: str | os.PathLike[str],
    *,
    title: str,
    runs: Mapping[run_results.Key, run_results.Run],
    failures: Mapping[str, str],
    settings: Mapping[str, object],
    questions: Sequence[tuple[str, str, str]] = (),
    control: str | None = None,
    one_for_all: Collection[str] = (),
    notes: Sequence[str] = (),
    tuning: tuning_report.Tuning | None = None,
) -> pathlib.Path:
  """Writes the comparison of runs: tables, figures as SVG files, and the page.

  The page `comparison.html` is written last.

  Args:
    folder: Where to write; created if missing.
    title: The title of the page.
    runs: The runs to compare, in the order of the tables.
    failures: Error messages of the runs that failed, by the run's name.
    settings: The settings that all runs have in common, by name.
    questions: Each with the two algorithms whose difference answers it, for
      every split that both were run with.
    control: The algorithm that gives all clients one model, if any; others are
      compared with its run.
    one_for_all: Other algorithms that give all clients one model.
    notes: Remarks for the reader, a paragraph each.
    tuning: How the settings of the runs were chosen, if they were.

  Returns:
    The path of the page.

  Raises:
    errors.SettingsError: If there is no run.
    OSError: If a file cannot be written; existing files are then left whole.
  """
  if not runs:
    failed = '; '.join(f'{name}: {text}' for name, text in failures.items())
    raise errors.SettingsError(
        'Expected at least one finished run to compare, found none.'
        f' Runs that failed: {failed or "none"}.'
    )
  first = next(iter(runs.values()))
  schemes = comparison.schemes(runs)
  contents = _contents(
      runs,
      schemes,
      title=title,
      failures=failures,
      settings=settings,
      questions=questions,
      control=control,
      one_for_all=one_for_all,
      notes=notes,
  )
  contents['tuning'] = tuning and tuning_report.contents(tuning)
  environment = page.environment(first.percent)
  figures = _figures(schemes, first)
  html = environment.get_template('comparison.html.jinja').render(
      contents,
      figures={name: page.data_uri(f) for name, f in figures.items()},
  )
  text = environment.get_template('comparison.md.jinja').render(contents)
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  files.replace_text(folder / 'comparison.json', page.to_json(contents))
  files.replace_text(folder / 'comparison.md', text)
  for name, figure in figures.items():
    plots.write_svg(folder / f'comparison_{name}.svg', figure)
  if 'frontier' not in figures:  # There may be one of more schemes.
    (folder / 'comparison_frontier.svg').unlink(missing_ok=True)
  path = folder / 'comparison.html'
  files.replace_text(path, html)
  return path


def _contents(
    runs: Mapping[run_results.Key, run_results.Run],
    schemes: Sequence[comparison.Scheme],
    *,
    title: str,
    failures: Mapping[str, str],
    settings: Mapping[str, object],
    questions: Sequence[tuple[str, str, str]],
    control: str | None,
    one_for_all: Collection[str],
    notes: Sequence[str],
) -> dict[str, Any]:
  """Every number of the comparison, ready for JSON."""
  first = next(iter(runs.values()))
  full = comparison.best_full(schemes)
  pairs = [
      *_pairs(schemes, full, questions, control, one_for_all),
      *_own_parts(schemes, comparison.shared(runs)),
      *_yardstick_pairs(schemes, comparison.yardstick(runs)),
  ]
  return page.plain(
      {
          'title': title,
          'metric': first.metric.name,
          'higher_is_better': first.metric.higher_is_better,
          'percent': first.percent,
          'seeds': sorted({key.seed for key in runs}),
          'baselines': _baselines(schemes),
          'is_private': _is_private(schemes),
          'full': full.name if full else None,
          'schemes': [_numbers(scheme, full, first) for scheme in schemes],
          'newcomers': [
              _numbers(scheme, None, first)
              for scheme in comparison.newcomers(runs)
          ],
          'known_newcomers': max(run.known_newcomers for run in runs.values()),
          'yardstick': _yardstick(comparison.yardstick(runs)),
          'gates': _gates(schemes, comparison.gated(runs)),
          'gate_in_words': _GATE,
          'pairs': pairs,
          'several_intervals': _several_intervals(
              len(pairs), seeds=len({key.seed for key in runs})
          ),
          'failures': failures,
          'settings': settings,
          'notes': [
              *notes,
              *_privacy_notes(schemes, first.metric.name),
              *_seed_notes(len({key.seed for key in runs})),
          ],
      }
  )


def _baseline(scheme: comparison.Scheme) -> str:
  """What a scheme's change is from, in words."""
  candidate, baseline = scheme.compared_models
  if baseline == 'shared':
    return 'the shared model of the same run'
  if candidate == 'trained_alone':
    return 'the pretrained model, which it does not start from'
  return 'the model that it starts from'


def _baselines(schemes: Sequence[comparison.Scheme]) -> str:
  """What the changes of all schemes are from, in a sentence."""
  names: dict[str, list[str]] = {}
  for scheme in schemes:
    names.setdefault(_baseline(scheme), []).append(scheme.name)
  first, *others = sorted(names, key=lambda words: -len(names[words]))
  parts = [f'The change is from the baseline of each scheme: {first}']
  for words in others:
    parts.append(f'for {" and ".join(names[words])}, {words}')
  return f'{"; ".join(parts)}.'


def _several_intervals(count: int, *, seeds: int) -> str:
  """What a reader must know about many intervals."""
  if seeds < comparison.ENOUGH_SEEDS:
    return ''  # Another note says that they are too narrow.
  low, high = _FALSE_EXCLUSIONS
  return (
      f'Each of the {count} intervals is for itself: where nothing differs,'
      f' {low:.0%} to {high:.0%} of such intervals leave out 0.'
  )


def _is_private(schemes: Sequence[comparison.Scheme]) -> bool:
  """Whether any run has differential privacy, with or without noise."""
  return any(scheme.guarantee[1] is not None for scheme in schemes)


def _privacy_notes(
    schemes: Sequence[comparison.Scheme], metric: str
) -> list[str]:
  """What a reader must know about epsilons."""
  if not _is_private(schemes):
    return []
  found = [
      'Each epsilon is that of a single run. If results of several runs on the'
      ' same people are published, their epsilons compose.'
  ]
  if len({formatting.epsilon(s.guarantee[0]) for s in schemes}) > 1:
    found.append(
        'Schemes have different epsilons: their differences are of'
        f' {formatting.words(metric)} at different epsilons.'
    )
  return found


def _seed_notes(seeds: int) -> list[str]:
  """What a reader must know about intervals of few seeds."""
  if seeds >= comparison.ENOUGH_SEEDS:
    return []
  if seeds == 1:
    text = (
        'There is one seed. The 95% intervals are over clients only and say'
        ' nothing about other seeds, with which differences may vanish.'
    )
  else:
    text = (
        'There are two seeds, so how much seeds differ is hardly known, and the'
        ' 95% intervals, which take it into account, are wide or too narrow.'
    )
  return [f'{text} Use at least {comparison.ENOUGH_SEEDS} seeds.']


def _numbers(
    scheme: comparison.Scheme,
    full: comparison.Scheme | None,
    run: run_results.Run,
) -> dict[str, object]:
  """Every number about a scheme."""
  mean, deviation = scheme.mean()
  uniform_mean, uniform_deviation = scheme.uniform_mean()
  hurt, hurt_beyond_chance = scheme.hurt()
  hurt_by_chance, testable = scheme.power()
  share = None
  if full is not None and scheme is not full:
    share = comparison.share_of_full(scheme, full)
  others = next(iter(run.outcomes.values())).values
  epsilon, delta = scheme.guarantee
  return {
      'name': scheme.name,
      'seeds': scheme.seeds,
      'personal_fraction': scheme.personal_fraction,
      'epsilon': epsilon,
      'delta': delta,
      'mean': mean,
      'deviation': deviation,
      'uniform_mean': uniform_mean,
      'uniform_deviation': uniform_deviation,
      'baseline': scheme.baseline_mean(),
      'baseline_in_words': _baseline(scheme),
      'change': dataclasses.asdict(scheme.change()),
      'gain_per_kilobyte': formatting.per_kilobyte(
          run.metric.sign * scheme.change().mean, _personal_bytes(scheme)
      ),
      'share_of_full': share,
      'hurt': hurt,
      'hurt_beyond_chance': hurt_beyond_chance,
      'hurt_by_chance': hurt_by_chance,
      'testable': testable,
      'quantiles': scheme.quantiles(),
      'by_size': scheme.by_size(),
      'other_metrics': {
          name: scheme.mean(name)[0]
          for name in others
          if name != run.metric.name
      },
      'cost': scheme.cost(),
  }


def _personal_bytes(scheme: comparison.Scheme) -> float:
  """The size of one client's personal variables."""
  return scheme.cost()['personal_bytes']


def _yardstick(
    scheme: comparison.Scheme | None,
) -> dict[str, object] | None:
  """The numbers about the clients' most frequent labels."""
  if scheme is None:
    return None
  mean, deviation = scheme.mean()
  return {
      'name': formatting.model(scheme.name),
      'seeds': scheme.seeds,
      'mean': mean,
      'deviation': deviation,
      'uniform_mean': scheme.uniform_mean()[0],
      'quantiles': scheme.quantiles(),
  }


def _pair(
    question: str,
    one: comparison.Scheme,
    other: comparison.Scheme,
    *,
    second: str,
) -> list[dict[str, object]]:
  """The difference of two schemes; nothing if they have no client in common."""
  difference = one.minus(other)
  if difference is None:
    return []
  names = {'question': question, 'first': one.name, 'second': second}
  return [{**names, **dataclasses.asdict(difference)}]


def _own_parts(
    schemes: Sequence[comparison.Scheme],
    shared: Mapping[str, comparison.Scheme],
) -> list[dict[str, object]]:
  """What the clients' own variables add to the shared ones of their scheme."""
  return [
      pair
      for scheme in schemes
      if scheme.name in shared
      for pair in _pair(
          "Clients' own variables versus the initial ones",
          scheme,
          shared[scheme.name],
          second='its shared variables',
      )
  ]


def _gates(
    schemes: Sequence[comparison.Scheme],
    gated: Mapping[str, comparison.Scheme],
) -> list[dict[str, object]]:
  """What the gate is worth for the schemes of runs that have one."""
  return [
      {'name': scheme.name, **scheme.worth_of_gate(gated[scheme.name])}
      for scheme in schemes
      if scheme.name in gated
  ]


def _yardstick_pairs(
    schemes: Sequence[comparison.Scheme], yardstick: comparison.Scheme | None
) -> list[dict[str, object]]:
  """The differences of schemes from the clients' most frequent labels."""
  if yardstick is None:
    return []
  return [
      pair
      for scheme in schemes
      for pair in _pair(
          'Versus a guess without training',
          scheme,
          yardstick,
          second=formatting.model(yardstick.name),
      )
  ]


def _pairs(
    schemes: Sequence[comparison.Scheme],
    full: comparison.Scheme | None,
    questions: Sequence[tuple[str, str, str]],
    control: str | None,
    one_for_all: Collection[str],
) -> list[dict[str, object]]:
  """The differences between schemes that answer common questions."""
  found = []

  def add(question, one, other):
    found.extend(_pair(question, one, other, second=other.name))

  by_name = {scheme.name: scheme for scheme in schemes}
  parts = {name: name.split(', ') for name in by_name}
  for question, first, second in questions:
    for name, (algorithm, *rest) in parts.items():
      other = by_name.get(', '.join([second, *rest]))
      if algorithm == first and other is not None:
        add(question, by_name[name], other)
  for name, (algorithm, split, *model) in parts.items():
    trained = by_name.get(f'{algorithm}, {split}')
    if model and trained is not None:
      add(
          f'{formatting.model(model[0])} versus the model as trained',
          by_name[name],
          trained,
      )
  # The following questions are not asked about variants of schemes.
  plain = [s for s in schemes if len(parts[s.name]) == 2]
  plain = [s for s in plain if ' with ' not in s.name]
  for one_model in plain:
    if parts[one_model.name][0] == control:
      for other in plain:
        if other is one_model:
          continue
        question = 'Personalization versus more rounds of FedAvg'
        if parts[other.name][0] in one_for_all:
          question = 'One model for all versus more rounds of FedAvg'
        add(question, other, one_model)
  if full is not None:
    for scheme in plain:
      if not scheme.full and scheme.personal_fraction:
        add('Partial versus full personalization', scheme, full)
  return found


def _figures(
    schemes: Sequence[comparison.Scheme], run: run_results.Run
) -> dict[str, mpl_figure.Figure]:
  """The figures by name; no frontier if all personal parts have one size."""
  scale, unit = 1.0, formatting.words(run.metric.name)
  if run.percent:
    scale, unit = 100.0, f'{unit} (percentage points)'
  differences = {scheme.name: scheme.change() for scheme in schemes}
  sizes = {scheme.name: _personal_bytes(scheme) for scheme in schemes}
  figures = {
      'changes': comparison_plots.changes(
          differences,
          scale=scale,
          unit=unit,
          metric=run.metric,
      ),
      'clients': comparison_plots.client_changes(
          {s.name: s.client_changes()[1] for s in schemes},
          scale=scale,
          unit=unit,
      ),
  }
  if len(set(sizes.values()) - {0}) > 1:
    figures['frontier'] = comparison_plots.gain_by_bytes(
        [(name, sizes[name], differences[name]) for name in sizes],
        scale=scale,
        unit=unit,
        metric=run.metric,
    )
  return figures
