# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the report on FedAlt and FedSim says, and when it warns."""

import copy
import math

from absl.testing import absltest
from absl.testing import parameterized

from tff_partial.reporting import regime_notes
from tff_partial.reporting import regime_plots
from tff_partial.reporting import regime_text


def estimate(value):
  return {'value': value, 'low': 0.8 * value, 'high': 1.2 * value}


def forecast(log_ratio=-0.02, call=True, not_finite=()):
  return {
      'log_ratio': log_ratio,
      'low': log_ratio - 0.01,
      'high': log_ratio + 0.01,
      'call': call,
      'not_finite': not_finite,
  }


def question(**kwargs):
  return {
      'held_out': forecast(**kwargs),
      'half_way': forecast(**kwargs),
      'training': forecast(),
      'gradient_ratio': 2.0,
      'time_ratio': 1.9,
  }


def bounds(margin, share, flips):
  return {
      'terms': {
          'shared_noise': 0.5,
          'personal_noise': 0.25,
          'diversity': 1.0,
      },
      'margin': margin,
      'probability_alternating': share,
      'flip_points': flips,
  }


def split(**changes):
  constants = {
      'clients': 50,
      'left_out': 0,
      'steps': 4.1,
      'normalised_steps': {'shared': estimate(0.2), 'personal': estimate(0.3)},
      'coupling': estimate(0.6),
      'diversity': estimate(1.5),
      'clipped': 0.0,
      'half_radius_change': 0.1,
      'leading_difference': {'value': -0.02, 'low': -0.03, 'high': -0.01},
      'criterion': {
          'as_drawn': bounds(0.4, 0.99, ()),
          'independent': bounds(-0.2, 0.1, (2.06, 48.4)),
      },
  }
  found = {
      'population': 100,
      'clients_per_round': 10,
      'rounds': 8,
      'repeats': 4,
      'held_out_per_client': [6] * 50,
      'equal_epochs_in_phases': True,
      'server_optimizer': 'sgd',
      'warmup_rounds': 0,
      'start': constants,
      'pilot': {
          'constants': copy.deepcopy(constants),
          'lookahead': {
              'clients_per_round': [1, 4, 10, 100],
              'difference': [0.1, -0.1, -0.2, 0.3],
              'relative': [0.1, -0.1, -0.2, 0.3],
              'relative_low': [-0.1, -0.2, -0.3, -0.2],
              'relative_high': [0.3, 0.0, -0.1, 0.8],
          },
      },
      'rehearsals': {},
      'forecasts': {
          'equal_epochs': question(),
          'equal_gradient_steps': question(log_ratio=0.06, call=False),
      },
  }
  for path, value in changes.items():
    where = found
    *parents, last = path.split('__')
    for name in parents:
      where = where[name]
    where[last] = value
  return found


class LinesTest(parameterized.TestCase):

  def test_says_who_is_ahead(self):
    text = '\n'.join(regime_text.lines('output', split(), 'digits'))
    for expected in (
        'digits, output personal: 10 of 100 clients per round, 4.1 steps',
        'equal epochs         FedAlt lower by 2.0%',
        'equal gradient steps FedAlt higher by 6.2%',
        ': FedAlt; FedAlt takes 2.0 times the gradients',
        'FedAlt ahead by 0.02 in the loss (-0.03 to -0.01)',
        'FedSim ahead at 1, FedAlt from 4, FedSim from 100; 95% intervals'
        ' exclude 0 at 10',
        'FedAlt at 10 (99% of bootstraps); FedAlt for every number',
        'FedSim at 10 (90% of bootstraps); FedSim for 2 to 48 clients',
        'a comparison of bounds, not a forecast',
    ):
      self.assertIn(expected, text)

  def test_says_what_it_does_not_know(self):
    lost = split(
        forecasts__equal_epochs=question(log_ratio=0.0, call=None),
        start__leading_difference={'value': 0.0, 'low': -1.0, 'high': 1.0},
    )
    lost['forecasts']['equal_gradient_steps']['held_out'] = {
        'log_ratio': None,
        'low': None,
        'high': None,
        'call': None,
        'not_finite': [1],
    }
    text = '\n'.join(regime_text.lines('output', lost, 'digits'))
    self.assertIn('no call', text)
    self.assertIn('no forecast: a rehearsal diverged', text)
    self.assertIn('no difference that exceeds its interval', text)
    self.assertIn(
        'the losses of 1 rehearsals are not numbers',
        '\n'.join(regime_notes.notes(lost, total_rounds=100)),
    )

  def test_says_where_intervals_exclude_zero(self):
    for low, high, expected in (
        ([-1, -1, -1, -1], [1, 1, 1, 1], 'FedAlt ahead for all; 95% inter'),
        ([-1, -1, -1, -1], [1, 1, 1, 1], 'exclude 0 at none'),
        ([-2, -2, -1, 1], [-1, -1, 1, 2], 'exclude 0 at 1 to 4 and 100'),
    ):
      found = split(
          pilot__lookahead__difference=[-1.0] * 4,
          pilot__lookahead__relative_low=low,
          pilot__lookahead__relative_high=high,
      )
      text = '\n'.join(regime_text.lines('output', found, 'digits'))
      self.assertIn(expected, text)

  def test_percent(self):
    found = regime_text.percent(forecast(log_ratio=0.1))
    self.assertAlmostEqual(found[0], 100 * (math.exp(0.1) - 1))


class NotesTest(parameterized.TestCase):

  def test_nothing_to_say(self):
    self.assertEmpty(regime_notes.notes(split(), total_rounds=100))

  @parameterized.parameters(
      (
          {'start__normalised_steps__personal': estimate(0.01)},
          'nearly the same',
      ),
      ({'start__normalised_steps__shared': estimate(2.0)}, 'overshoot'),
      ({'start__clipped': 0.2}, 'shortens 20% of the steps'),
      ({'start__half_radius_change': 0.7}, 'not quadratic'),
      ({'start__diversity': estimate(-0.1)}, 'not above 0'),
      ({'start__clients': 12}, 'Only 12 clients'),
      ({'start__left_out': 3}, '3 clients are left out'),
      ({'held_out_per_client': [2] * 50}, 'holds out fewer than 5'),
      ({'rounds': 25}, 'just run both'),
      (
          {'forecasts__equal_epochs__half_way': forecast(call=False)},
          'is the opposite one',
      ),
      ({'clients_per_round': 1}, '1.0 times on average'),
      ({'warmup_rounds': 10}, 'first 10 rounds, which rehearsals do not get'),
      ({'warmup_rounds': 7}, 'first 7 rounds.'),
      ({'equal_epochs_in_phases': False}, 'know --personal_epochs'),
      ({'server_optimizer': 'adam'}, 'only the rehearsals know adam'),
  )
  def test_each_failure_mode_is_one_sentence(self, changes, expected):
    notes = regime_notes.notes(split(**changes), total_rounds=100)
    self.assertLen(notes, 1)
    self.assertIn(expected, notes[0])


class FiguresTest(absltest.TestCase):

  def test_draws_what_there_is(self):
    splits = {'output': split(), 'adapter': split()}
    [axes] = regime_plots.forecasts(splits).axes
    self.assertLen(axes.get_yticks(), 4)
    [axes] = regime_plots.lookahead(splits).axes
    self.assertLen(axes.lines, 3)  # Two splits and zero.
    [axes] = regime_plots.constants(splits).axes
    self.assertEqual(
        [t.get_text() for t in axes.get_legend().get_texts()],
        ['output', 'adapter'],
    )

  def test_logarithmic_axes_have_plain_numbers(self):
    splits = {'output': split()}
    for figure, axis in (
        (regime_plots.lookahead(splits), 'xaxis'),
        (regime_plots.constants(splits), 'yaxis'),
    ):
      figure.draw_without_rendering()
      ticks = getattr(figure.axes[0], axis)
      labels = [
          label.get_text() for label in ticks.get_ticklabels(which='both')
      ]
      self.assertGreater(len([label for label in labels if label]), 1)
      for label in filter(None, labels):
        self.assertRegex(label, r'^[\d,.]+$')

  def test_constants_keep_off_the_frame(self):
    [axes] = regime_plots.constants({'output': split()}).axes
    self.assertEqual(axes.get_xlim(), (-0.5, 2.5))


if __name__ == '__main__':
  absltest.main()
