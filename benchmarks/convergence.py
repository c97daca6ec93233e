# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Squared gradient norms of FedAlt and FedSim next to their bounds.

python -m benchmarks.convergence --output_dir=out/convergence

Both algorithms train quadratic losses with known constants (`quadratics.py`)
with the package's own processes, over a grid of participation m/n, local steps
tau and noise. The figure shows the averages over rounds 1 to T of

    |grad_u F|^2 / L_u + (m/n) mean_i |grad_v F_i|^2 / L_v

where FedAlt's shared gradient is taken at the virtual personal variables, as in
its analysis. The bounds are those of docs/theory.md with theta = 1, derived for
one local step; panels with more steps have none. A table has the ends of the
curves, and another one compares the difference of the expected losses after one
round with equation D.
"""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any, NamedTuple

from absl import app
from absl import flags
from matplotlib import figure as mpl_figure
import numpy as np
import tensorflow_federated as tff

from benchmarks import quadratics
from tff_partial import files
from tff_partial.learning import algorithms
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import process as process_lib
from tff_partial.reporting import plots
from tff_partial.runtime import local
from tff_partial.runtime import sharding as sharding_lib
from tff_partial.training import rehearsal
from tff_partial.training import sampler as sampler_lib

_CLIENTS = 20
_CHI = 0.7
_DIVERSITY = 1.0
_EXAMPLES = 8
_ETA = 0.3  # Normalized step of a round: rate = eta / (tau L).
_NAMES = {'FedAlt': algorithms.fed_alt, 'FedSim': algorithms.fed_sim}

FLAGS = flags.FLAGS


def _define_flags() -> None:
  flags.DEFINE_string(
      'output_dir', 'out/convergence', 'Gets convergence.svg and .md.'
  )
  flags.DEFINE_integer('rounds', 60, 'Rounds of each run.')
  flags.DEFINE_integer('repeats', 3, 'Runs that are averaged.')
  flags.DEFINE_integer('draws', 200, 'Rounds that the table averages over.')


class Setting:
  """A problem with a number of local steps, and both algorithms for it."""

  def __init__(self, *, steps: int, noise: float):
    """Builds the processes.

    Args:
      steps: tau; the number of batches of a client's examples.
      noise: sigma^2 of one example's gradient.
    """
    self.steps = steps
    self.noise = noise
    self.problem = quadratics.create(
        num_clients=_CLIENTS,
        chi=_CHI,
        diversity=_DIVERSITY,
        noise=noise,
        num_examples=_EXAMPLES,
    )
    self.batch = _EXAMPLES // 4 if noise else _EXAMPLES
    self._built: dict[tuple[str, float], process_lib.PartialProcess] = {}

  def process(self, name: str, rate: float) -> process_lib.PartialProcess:
    """The process of an algorithm at a learning rate, built once."""
    if (name, rate) not in self._built:
      group = phase_lib.GroupTraining(tff.learning.optimizers.build_sgdm(rate))
      self._built[name, rate] = process_lib.build_partial_process(
          self.problem.model_fn(),
          _NAMES[name](
              group,
              group,
              steps=algorithms.Steps(epochs=self.steps, max_steps=self.steps),
          ),
          client_examples=examples_lib.Tensors(batch_size=self.batch),
          client_weighting=tff.learning.ClientWeighting.UNIFORM,
      )
    return self._built[name, rate]

  def run(
      self, name: str, *, rate: float, clients_per_round: int, rounds: int, seed
  ) -> list[tuple[np.ndarray, np.ndarray]]:
    """u and all v_i before the first and after each round."""
    process = self.process(name, rate)
    clients = self.problem.clients()
    personal = rehearsal.ScratchVariables(process.initialize_personal())
    state: Any = process.initialize()
    found = [self._variables(state, personal)]
    for round_num in range(rounds):
      done = rehearsal.rehearse(
          process,
          sampler_lib.UniformSampler(clients, clients_per_round, seed=seed),
          state=state,
          personal=personal,
          first_round=round_num,
          rounds=1,
          sharding=sharding_lib.Sharding(),
      )
      state = done.state
      found.append(self._variables(state, personal))
    return found

  def _variables(
      self, state: Any, personal: rehearsal.ScratchVariables
  ) -> tuple[np.ndarray, np.ndarray]:
    u = np.asarray(state.global_model_weights.trainable[0], float)
    values = personal.read(self.problem.clients().client_ids)
    return u, np.stack([np.asarray(v.trainable[0], float) for v in values])


def gradient_norms(
    setting: Setting, name: str, *, clients_per_round: int, rounds: int, seed
) -> np.ndarray:
  """The quantity that the bounds are about, before each round, [rounds]."""
  p = clients_per_round / _CLIENTS
  rate = _ETA / setting.steps
  found = []
  for u, v in setting.run(
      name,
      rate=rate,
      clients_per_round=clients_per_round,
      rounds=rounds,
      seed=seed,
  )[:-1]:
    g, h = setting.problem.gradients(u, v)
    if name == 'FedAlt':  # At the virtual personal variables.
      for _ in range(setting.steps):
        v = v - rate * setting.problem.gradients(u, v)[1]
      g = setting.problem.gradients(u, v)[0]
    found.append(
        np.sum(g.mean(axis=0) ** 2) + p * np.mean(np.sum(h**2, axis=1))
    )
  return np.array(found)


def bound(
    setting: Setting, name: str, *, clients_per_round: int, rounds: int
) -> np.ndarray:
  """The bound on the average over rounds 1 to T, [rounds], for one step.

  Inequalities S and A of docs/theory.md with theta = 1 and L_u = L_v = 1.
  """
  p, m, chi2 = clients_per_round / _CLIENTS, clients_per_round, _CHI**2
  sigma2 = setting.noise / setting.batch * (1 - setting.batch / _EXAMPLES)
  without = (_CLIENTS - m) / ((_CLIENTS - 1) * m)
  a = sigma2 / m + without * _DIVERSITY
  shared, personal = {
      'FedSim': (1 + p, p * (1 + chi2)),
      'FedAlt': (2 - p, p + (1 - p) * chi2),
  }[name]
  noise = shared * a + personal * sigma2
  # What is left of the gradients' own terms: the smaller share of the two.
  left = min(1 - _ETA / 2 * shared, 1 - _ETA / 2 * personal / p)
  if left <= 0:
    return np.full(rounds, np.nan)
  start = setting.problem.loss(*_zeros(setting))
  gap = start - setting.problem.minimum()
  t = np.arange(1, rounds + 1)
  return (gap / (_ETA * t) + _ETA / 2 * noise) / left


def _zeros(setting: Setting) -> tuple[np.ndarray, np.ndarray]:
  n, du, dv = setting.problem.c.shape
  return np.zeros(du), np.zeros((n, dv))


class Panel(NamedTuple):
  """What both algorithms did in a setting, and their bounds.

  Attributes:
    title: The setting.
    averages: By algorithm, the averages over rounds 1 to T, [rounds].
    bounds: Likewise, the bounds; nothing for several local steps.
  """

  title: str
  averages: Mapping[str, np.ndarray]
  bounds: Mapping[str, np.ndarray]


def measure(
    setting: Setting, *, clients_per_round: int, rounds: int, repeats: int
) -> Panel:
  """Trains both algorithms, and averages over repeats."""
  run = {'clients_per_round': clients_per_round, 'rounds': rounds}
  averages = {}
  for name in _NAMES:
    norms = [
        gradient_norms(setting, name, seed=seed, **run)
        for seed in range(repeats)
    ]
    averages[name] = np.cumsum(np.mean(norms, axis=0)) / np.arange(
        1, rounds + 1
    )
  return Panel(
      f'm/n {clients_per_round / _CLIENTS:g}, tau {setting.steps},'
      f' sigma^2 {setting.noise:g}',
      averages,
      {name: bound(setting, name, **run) for name in _NAMES}
      if setting.steps == 1
      else {},
  )


def draw(rows: Sequence[Sequence[Panel]]) -> mpl_figure.Figure:
  """Draws panels in rows."""
  figure = plots.new_figure(width=9.6, height=2.7 * len(rows) + 0.3)
  panels = figure.subplots(
      len(rows), len(rows[0]), squeeze=False, sharex=True, sharey='row'
  )
  for axes, panel in zip(panels.flat, (p for row in rows for p in row)):
    plots.tidy(axes, x='', y='')
    axes.set_title(panel.title, fontsize=9)
    for name, color in zip(_NAMES, plots.LINES):
      t = np.arange(1, len(panel.averages[name]) + 1)
      # Dashes, because the two curves nearly cover each other.
      style = '-' if name == 'FedAlt' else '--'
      axes.plot(t, panel.averages[name], style, color=color, label=name)
      if name in panel.bounds:
        label = f'{name}, bound'
        axes.plot(t, panel.bounds[name], ':', color=color, label=label)
    axes.set_xscale('log')
    axes.set_yscale('log')
    plots.label_log(axes.xaxis)
    plots.label_log(axes.yaxis)
  figure.supxlabel('Rounds T', fontsize=10)
  figure.supylabel(
      'Average of squared gradients over rounds 1 to T', fontsize=10
  )
  figure.legend(
      *panels[0][0].get_legend_handles_labels(),
      loc='outside upper left',
      ncols=4,
      frameon=False,
      fontsize=9,
  )
  return figure


def last_values(rows: Sequence[Sequence[Panel]]) -> list[str]:
  """A table of the ends of all curves, in Markdown."""
  lines = [
      '| setting | FedAlt | FedSim | bound of FedAlt | of FedSim |',
      '| --- | --- | --- | --- | --- |',
  ]
  for panel in (p for row in rows for p in row):
    ends = [panel.averages[name][-1] for name in _NAMES]
    bounds = [panel.bounds[n][-1] for n in _NAMES if n in panel.bounds]
    cells = [f'{value:.3f}' for value in [*ends, *bounds]]
    cells += ['–'] * (4 - len(cells))
    lines.append(f'| {panel.title} | {" | ".join(cells)} |')
  return lines


def one_round_table(setting: Setting, m: int, draws: int) -> list[str]:
  """Rows that compare real rounds with equation D, at three rates."""
  rows = []
  u, v = _zeros(setting)
  g, h = setting.problem.gradients(u, v)
  coupled = np.einsum('nij,nj->ni', setting.problem.c, h)
  tau, p = setting.steps, m / _CLIENTS
  formula = tau * (tau + 1) / 2 * g.mean(0) @ coupled.mean(0)
  formula -= p * tau * (tau - 1) / 2 * np.mean(np.sum(g * coupled, axis=1))
  for rate in (0.1, 0.03, 0.01):
    differences = []
    for seed in range(draws):
      losses = {
          name: setting.problem.loss(
              *setting.run(
                  name,
                  rate=rate,
                  clients_per_round=m,
                  rounds=1,
                  seed=clients_lib.stream(seed, 'one round'),
              )[-1]
          )
          for name in _NAMES
      }
      differences.append(losses['FedAlt'] - losses['FedSim'])
    scaled = np.array(differences) / rate**2
    error = ''
    if draws > 1:
      half = 1.96 * scaled.std(ddof=1) / np.sqrt(draws)
      error = f' ± {half:.3f}'
    rows.append(
        f'| {tau} | {m} | {rate:g} | {scaled.mean():.3f}{error} |'
        f' {formula:.3f} |'
    )
  return rows


def main(argv: list[str]) -> None:
  del argv
  folder = pathlib.Path(FLAGS.output_dir).expanduser()
  folder.mkdir(parents=True, exist_ok=True)
  with local.local_worker(max_concurrent_clients=2):
    settings = [
        Setting(steps=1, noise=0.0),
        Setting(steps=1, noise=4.0),
        Setting(steps=4, noise=4.0),
    ]
    rows = [
        [
            measure(
                setting,
                clients_per_round=m,
                rounds=FLAGS.rounds,
                repeats=FLAGS.repeats,
            )
            for m in (2, 8, 20)
        ]
        for setting in settings
    ]
    plots.write_svg(folder / 'convergence.svg', draw(rows))
    lines = [
        *last_values(rows),
        '',
        '| tau | m | rate | (FedAlt - FedSim) / rate^2, one round | equation D'
        ' |',
        '| --- | --- | --- | --- | --- |',
    ]
    for steps in (1, 4):
      # Full batches: only the cohort is random.
      setting = Setting(steps=steps, noise=0.0)
      for m in (2, 20):
        lines += one_round_table(setting, m, 1 if m == 20 else FLAGS.draws)
  table = '\n'.join(lines) + '\n'
  files.replace_text(folder / 'convergence.md', table)
  print(table)


if __name__ == '__main__':
  _define_flags()
  app.run(main)
