# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs with a key: their cohorts, how they resume, and what is left of them."""

import contextlib
import json
import math
import pathlib
import shutil
import tempfile

from absl.testing import absltest
import numpy as np

from tests.helpers import toy
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial import errors
from tff_partial.experiments import budget as budget_lib
from tff_partial.experiments import checkpoint
from tff_partial.experiments import commands
from tff_partial.experiments import description
from tff_partial.experiments import flags
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import privacy_in_words
from tff_partial.experiments import run as run_lib
from tff_partial.experiments.comparisons import combinations
from tff_partial.experiments.comparisons import compare
from tff_partial.experiments.comparisons import search as search_lib
from tff_partial.experiments.exports import export
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import config_groups
from tff_partial.experiments.settings import task_choice
from tff_partial.privacy import accounting
from tff_partial.privacy import secret_key
from tff_partial.reporting import formatting
from tff_partial.runtime import sharding
from tff_partial.training import history
from tff_partial.training import sampler as sampler_lib
from tff_partial.training import store_summary

setUpModule, tearDownModule = worker.start, worker.stop


# Ten of twelve clients in a round on average. Pretraining and the first round
# of training read at most 48, and all rounds below 53 once in 400,000 times.
_MOST = dict(clients_per_round=10)
_IN_TRAINING = 52


class _Failing(toy.Clients):
  """Clients that can be read this many times before the disk fails."""

  def __init__(self, data, reads):
    super().__init__(data)
    self.reads = reads

  def read(self, client_id):
    if not self.reads:
      raise OSError('The disk is gone.')
    self.reads -= 1
    return super().read(client_id)


def task(reads=None, num_clients=12):
  whole = toy_task.create_task('', num_clients=num_clients)
  if reads is None:
    return whole
  data = {c: whole.train.read(c) for c in whole.train.client_ids}
  return whole.with_clients(train=_Failing(data, reads))


def config(**settings):
  return config_lib.create(
      **{
          'algorithm': 'fed_alt',
          'total_rounds': 4,
          'pretrain_rounds': 3,
          'clients_per_round': 4,
          'client_sampling': 'poisson',
          'rounds_per_evaluation': 0,
          'seconds_per_checkpoint': 0,
          **settings,
      }
  )


class FolderTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)

  def run_one(
      self, name, *, reads=None, shard=None, num_clients=12, **settings
  ):
    """Runs in a folder, or goes on there; its report."""
    plan = plan_lib.build(task(reads, num_clients), config(**settings))
    run_lib.run(
        plan,
        str(self.folder / name),
        sharding=sharding.Sharding(clients_per_shard=shard),
        progress=False,
    )
    return json.loads((self.folder / name / 'report.json').read_text())

  def bits(self, name):
    """What a run and its pretraining have learned, and their metrics."""
    found = []
    for part in ('.', 'pretrain'):
      folder = self.folder / name / part
      rows = history.read(folder / 'metrics.csv')
      for row in rows:
        del row['seconds']
      found += [rows, (folder / 'model.safetensors').read_bytes()]
    return found

  def stop(self, name, reads, **settings):
    with self.assertRaises(OSError):
      self.run_one(name, reads=reads, **settings)


class SamplingTest(FolderTest):

  def test_key_is_kept_while_it_is_needed(self):
    # There are 28 reads in training on average, with a deviation of 4.
    self.stop('run', 8)
    key = self.folder / 'run' / secret_key.FILE
    self.assertEqual(key.stat().st_mode & 0o777, 0o600)
    for name in ('copy', 'lost'):
      shutil.copytree(self.folder / 'run', self.folder / name)
    (self.folder / 'lost' / secret_key.FILE).unlink()
    with self.assertRaisesRegex(errors.MissingFileError, 'private.key of the'):
      self.run_one('lost')
    # Stopped again, in another place, and gone on with in both.
    self.stop('copy', 3)
    self.run_one('copy')
    self.run_one('run')
    self.assertEqual(self.bits('copy'), self.bits('run'))
    for name in ('copy', 'run'):
      self.assertFalse((self.folder / name / secret_key.FILE).exists())

  def test_cohorts_are_those_of_the_key(self):
    plan = lambda **kwargs: plan_lib.build(task(), config(**kwargs))
    cohorts = lambda p: [p.sampler.cohort(r) for r in range(5)]
    first, second = plan(), plan()
    self.assertNotEqual(cohorts(first), cohorts(second))
    key = secret_key.new()
    self.assertEqual(
        cohorts(first.with_key(key)), cohorts(second.with_key(key))
    )
    # Pretraining and training have cohorts of their own.
    keyed = first.with_key(key)
    self.assertNotEqual(cohorts(keyed), cohorts(keyed.pretraining))
    self.assertEqual(keyed.pretraining.key, key)
    public = [cohorts(plan(dp_key='seed', seed=s)) for s in (0, 0, 1)]
    self.assertEqual(public[0], public[1])
    self.assertNotEqual(public[0], public[2])
    self.assertIn(
        '4 rounds of about 4 clients', description.describe(first, '')
    )

  def test_without_poisson_there_is_no_key(self):
    for sampling, kind in (
        (None, sampler_lib.UniformSampler),
        ('fixed', sampler_lib.UniformSampler),
        ('cyclic', sampler_lib.CyclicSampler),
    ):
      plan = plan_lib.build(task(), config(client_sampling=sampling))
      self.assertIsNone(plan.key)
      self.assertIsInstance(plan.sampler, kind)

  def test_bytes_of_groups_that_are_larger(self):
    # Nineteen clients are one group.
    settings = dict(
        num_clients=19,
        clients_per_round=10,
        client_sampling='cyclic',
        algorithm='fed_avg',
        pretrain_rounds=0,
        total_rounds=2,
    )
    cost = self.run_one('run', **settings)['cost']
    self.assertEqual(cost['bytes_up'], 2 * 19 * 8)
    self.assertEqual(cost['bytes_down'], 2 * 19 * 8)
    del settings['num_clients']
    plan = plan_lib.build(task(num_clients=19), config(**settings))
    self.assertIn('2 rounds of 19 clients', description.describe(plan, ''))

  def test_comparison_has_the_same_cohorts_in_all_runs(self):
    compare = lambda **kwargs: combinations.combinations(
        config(**kwargs),
        algorithms=['fed_alt'],
        splits=['output'],
        seeds=[0, 1],
    )
    with self.assertRaisesRegex(errors.SettingsError, '`dp_key` seed'):
      compare()
    self.assertLen(compare(dp_key='seed'), 2)


# Accounting is fast with much noise, or without sampling.
_CYCLIC = dict(client_sampling='cyclic', noise_multiplier=3.0, dp_clip=0.5)


# A run of two tests; its folder, once the first of them has made it.
_PRIVATE = dict(noise_multiplier=3.0, dp_clip=0.5)
_made: list[pathlib.Path] = []


class DifferentialPrivacyTest(FolderTest):

  def run_private(self):
    """The report of a finished run in the folder `run`."""
    if not _made:
      self.run_one('run', **_PRIVATE)
      kept = self.enterClassContext(tempfile.TemporaryDirectory())
      _made.append(pathlib.Path(kept, 'run'))
      shutil.copytree(self.folder / 'run', _made[0])
    else:
      shutil.copytree(_made[0], self.folder / 'run')
    return json.loads((self.folder / 'run' / 'report.json').read_text())

  def test_what_is_said_and_kept(self):
    report = self.run_private()
    released = json.loads((self.folder / 'run' / 'privacy.json').read_text())
    first, second = released['mechanisms']
    self.assertEqual((first['rounds'], second['rounds']), (3, 4))
    for part in (first, second):
      del part['rounds']
      self.assertEqual(
          part,
          {
              'noise_multiplier': 3.0,
              'sampling': 'poisson',
              'num_clients': 12,
              'clients_per_round': 4,
              'kind': 'gaussian',
          },
      )
    self.assertAlmostEqual(released['delta'], 12**-1.1)
    expected = accounting.guarantee(
        [accounting.Mechanism(3.0, 'poisson', 12, 4, 7)], 12**-1.1
    )
    self.assertAlmostEqual(released['epsilon'], expected.epsilon, delta=1e-6)
    self.assertLen(released['other_epsilons'], 4)
    privacy = report['privacy']
    self.assertStartsWith(
        privacy['Privacy'],
        f'epsilon {formatting.epsilon(expected.epsilon)} at delta 0.065'
        ' for each',
    )
    self.assertIn('12 clients is in a round with probability', privacy['if'])
    self.assertIn('secret key, now deleted', privacy['if'])
    self.assertIn('bound 0.5; rounds: 3 with noise 3 and 4', privacy['how'])
    self.assertIn('adding or removing one person (PLD', privacy['against'])
    self.assertIn('NumPy’s for the cohorts', privacy['not covered'])
    self.assertIn('data have no fingerprint', privacy['not covered'])
    self.assertEqual(
        report['leaves_client'].split('. ')[0],
        'Leaves a client each round: the update of 1 shared parameter (4'
        ' bytes); nothing else, and nothing personal',
    )
    rows = history.read(self.folder / 'run' / 'metrics.csv')
    self.assertLen(rows, 4)
    for row in rows:
      self.assertEmpty([k for k in row if k.startswith(('train', 'counts'))])
    self.assertIsNone(report['cost']['gradient_steps'])
    page = (self.folder / 'run' / 'report.html').read_text()
    self.assertIn('not counted', page)
    self.assertIn('by all clients, expected<', page)
    self.assertIn('secret key, now deleted', page)
    self.assertFalse((self.folder / 'run' / secret_key.FILE).exists())

  def test_stopped_anywhere_it_ends_with_the_same_bits(self):
    # With an adaptive bound, whose state must be kept, too.
    settings = dict(
        client_sampling='cyclic',
        clients_per_round=6,
        noise_multiplier=0.5,
        dp_key='seed',
    )
    self.run_one('whole', **settings)
    whole = self.bits('whole')
    clips = [row['aggregator/dp_query_metrics/clip'] for row in whole[0]]
    self.assertLen(set(clips), 4)
    for reads in (8, 24):  # In pretraining and, gone on with, in training.
      self.stop('stopped', reads, **settings)
    self.run_one('stopped', **settings)
    self.assertEqual(self.bits('stopped'), whole)

  def test_secure_sums_have_the_same_bits_in_shards(self):
    settings = dict(
        _CYCLIC,
        algorithm='fed_avg',
        pretrain_rounds=0,
        total_rounds=2,
        dp_key='seed',
        secure_aggregation=True,
    )
    bits = []
    for shard in (None, 3):
      report = self.run_one(f'run_{shard}', shard=shard, **settings)
      folder = self.folder / f'run_{shard}'
      bits.append((folder / 'model.safetensors').read_bytes())
    self.assertEqual(*bits)
    self.assertIn(
        'update of 2 shared parameters (16 bytes, in secure sums); nothing',
        report['leaves_client'],
    )

  def test_tree_stopped_in_mid_round_ends_with_the_same_bits(self):
    settings = dict(
        dp_mechanism='tree',
        client_sampling=None,
        noise_multiplier=3.0,
        dp_clip=0.5,
        dp_key='seed',
        algorithm='fed_avg',
        pretrain_rounds=0,
    )
    report = self.run_one('whole', **settings)
    self.assertIn('node of a tree of sums over', report['privacy']['how'])
    self.assertIn('one of every 3 rounds', report['privacy']['if'])
    self.stop('stopped', 10, **settings)  # In the third round of four.
    self.run_one('stopped', **settings)
    weights = [
        (self.folder / name / 'model.safetensors').read_bytes()
        for name in ('whole', 'stopped')
    ]
    self.assertEqual(*weights)

  def test_pretraining_and_training_have_noise_of_their_own(self):
    plan = plan_lib.build(task(), config(**_CYCLIC))

    def noise(process):
      state, _, _ = process.next(process.initialize(), [], [])
      return state.global_model_weights.trainable[0].item()

    # The variable is 0 at first, and nobody takes part.
    first, second = noise(plan.pretraining.process), noise(plan.process)
    for value in (first, second):
      self.assertBetween(abs(value), 1e-6, 5 * 3.0 * 0.5 / 4)
    self.assertNotEqual(first, second)

  def test_target_epsilon_is_one_budget(self):
    settings = dict(client_sampling='cyclic', dp_clip=0.5, delta=1e-3)
    plan = plan_lib.build(task(), config(target_epsilon=2.0, **settings))
    self.assertAlmostEqual(plan.budget.guarantee.epsilon, 2.0, delta=0.02)
    noise = plan.budget.noise_multiplier
    self.assertEqual(plan.pretraining.config.privacy.noise_multiplier, noise)
    self.assertEqual(
        [m.noise_multiplier for m in plan.budget.own], [noise, noise]
    )
    self.assertIn('privacy    epsilon 2.00 at', description.describe(plan, ''))

  def test_noise_of_a_run_stays_what_it_was(self):
    # A round that is computed again with another multiplier, or with other
    # clients, would show what is under the noise.
    epsilon = dict(_MOST, target_epsilon=3.0, dp_clip=0.5, delta=1e-3)
    multiplier = dict(_MOST, noise_multiplier=3.0, dp_clip=0.5)
    self.stop('epsilon', _IN_TRAINING, **epsilon)
    self.stop('multiplier', _IN_TRAINING, **multiplier)
    released = (self.folder / 'epsilon' / 'privacy.json').read_bytes()
    for name, message, settings in (
        (
            'epsilon',
            'noise for `target_epsilon` dep',
            {**epsilon, 'total_rounds': 9},
        ),
        (
            'multiplier',
            'at least 4 as .* released',
            {**multiplier, 'total_rounds': 3},
        ),
        (
            'multiplier',
            'the clients of .*, found others',
            {**multiplier, 'num_clients': 11},
        ),
    ):
      with self.assertRaisesRegex(errors.SettingsError, message):
        self.run_one(name, **settings)
    self.assertEqual(
        (self.folder / 'epsilon' / 'privacy.json').read_bytes(), released
    )
    path = self.folder / 'multiplier' / 'privacy.json'
    released = path.read_text()
    path.write_text(released.replace('noise_version": 1', 'noise_version": 0'))
    with self.assertRaisesRegex(errors.SettingsError, 'version of the program'):
      self.run_one('multiplier', **multiplier)
    path.write_text(released)
    # More rounds have the noise that they would have had.
    self.run_one('multiplier', total_rounds=5, **multiplier)
    kept = json.loads((self.folder / 'multiplier' / 'privacy.json').read_text())
    self.assertEqual([m['rounds'] for m in kept['mechanisms']], [3, 5])

  def test_finished_run_stays_finished(self):
    before = self.run_private()
    with self.assertRaisesRegex(errors.SettingsError, 'key was deleted when'):
      self.run_one('run', total_rounds=5, **_PRIVATE)
    page = self.folder / 'run' / 'report.html'
    self.assertTrue(page.exists())
    # Its report is written again, also where somebody was forgotten.
    page.unlink()
    after = self.run_one('run', num_clients=11, **_PRIVATE)
    self.assertEqual(after['privacy'], before['privacy'])

  def test_finished_run_without_its_store(self):
    settings = dict(
        _CYCLIC, algorithm='fed_avg', pretrain_rounds=0, total_rounds=1
    )
    self.run_one('run', **settings)
    model = (self.folder / 'run' / 'model.safetensors').read_bytes()
    for name in ('personal_store.sqlite', 'report.html'):
      (self.folder / 'run' / name).unlink()
      # With another key, its rounds would be a second release.
      with self.assertRaisesRegex(errors.MissingFileError, 'private.key of'):
        self.run_one('run', **settings)
    self.assertEqual(
        (self.folder / 'run' / 'model.safetensors').read_bytes(), model
    )

  def test_second_run_has_the_budget_of_when_it_began(self):
    settings = dict(
        client_sampling='cyclic',
        dp_clip=0.5,
        delta=1e-3,
        algorithm='fed_avg',
        pretrain_rounds=None,
        total_rounds=2,
    )
    self.run_one(
        'first', **{**settings, 'pretrain_rounds': 0}, noise_multiplier=3.0
    )
    settings.update(init_from=str(self.folder / 'first'), target_epsilon=4.0)
    self.stop('second', 5, **settings)
    second = self.folder / 'second' / 'privacy.json'
    before = json.loads(second.read_text())['mechanisms']
    # The first run, if it was not finished, may have more rounds since.
    path = self.folder / 'first' / 'privacy.json'
    path.write_text(path.read_text().replace('"rounds": 2', '"rounds": 6'))
    report = self.run_one('second', **settings)
    released = json.loads(second.read_text())
    self.assertEqual(released['mechanisms'], before)
    self.assertEqual([m['rounds'] for m in before], [2, 2])
    parts = [accounting.Mechanism(**m) for m in before]
    expected = accounting.guarantee(parts, 1e-3).epsilon
    self.assertAlmostEqual(released['epsilon'], expected, delta=1e-6)
    self.assertBetween(expected, 3.9, 4.0)
    self.assertStartsWith(
        report['privacy']['Privacy'],
        f'epsilon {formatting.epsilon(expected)} at delta 0.001',
    )

  def test_model_of_a_private_run_that_is_not_finished(self):
    # Adaptive clip.
    self.stop('run', _IN_TRAINING, target_epsilon=50.0, delta=1e-3, **_MOST)
    values, rounds = checkpoint.load(self.folder / 'run', task())
    self.assertGreater(rounds, 0)
    self.assertNotEmpty(values)
    # The key is in no other file of the run, and in none of an export.
    run, out = self.folder / 'run', self.folder / 'exported'
    client_id = next(store_summary.trained_clients(run))
    export.export(str(run), client_id, str(out), task=task())
    key = run / secret_key.FILE
    files = {p for p in self.folder.rglob('*') if p.is_file()} - {key}
    self.assertGreater(len(list(out.iterdir())), 1)
    for path in files:
      self.assertNotEqual(path.name, secret_key.FILE)
      for text in (key.read_bytes(), key.read_bytes().hex().encode()):
        self.assertNotIn(text, path.read_bytes())

  def test_public_key_of_an_earlier_run_is_told(self):
    settings = dict(client_sampling='cyclic', dp_clip=0.5, delta=1e-3)
    self.run_one('first', noise_multiplier=3.0, dp_key='seed', **settings)
    plan = plan_lib.build(
        task(),
        config(
            pretrain_rounds=None,
            init_from=str(self.folder / 'first'),
            noise_multiplier=3.0,
            **settings,
        ),
    )
    (_, promise), *_ = privacy_in_words.rows(plan, [])
    self.assertIn('randomness of the run before it is public', promise)

  def test_a_run_from_a_private_one_adds_to_its_budget(self):
    settings = dict(client_sampling='cyclic', dp_clip=0.5, delta=1e-3)
    self.run_one('first', noise_multiplier=3.0, **settings)
    build = lambda **kwargs: plan_lib.build(
        task(),
        config(
            pretrain_rounds=None,
            init_from=str(self.folder / 'first'),
            noise_multiplier=3.0,
            **kwargs,
        ),
    ).budget
    budget = build(**settings)
    # Twelve clients in three groups: 1, 2 and 2 rounds of a client.
    self.assertEqual([m.rounds for m in budget.before], [3, 4])
    self.assertEqual([m.rounds for m in budget.own], [4])
    alone = build(init_is_public=True, **settings)
    self.assertEmpty(alone.before)
    self.assertEqual((budget.public_start, alone.public_start), (False, True))
    with self.assertRaisesRegex(errors.SettingsError, 'that they trained it'):
      run_lib.run(
          plan_lib.build(
              task(),
              config(
                  pretrain_rounds=None,
                  init_from=str(self.folder / 'first'),
                  init_is_public=True,
                  noise_multiplier=3.0,
                  **settings,
              ),
          ),
          str(self.folder / 'contradicted'),
      )
    self.assertGreater(budget.guarantee.epsilon, alone.guarantee.epsilon)
    with self.assertRaisesRegex(errors.SettingsError, 'one way of sampling'):
      build(**{**settings, 'client_sampling': 'poisson'})

    (self.folder / 'first' / 'privacy.json').write_text('{}')
    with self.assertRaisesRegex(errors.FileError, 'what a run has released'):
      build(**settings)
    (self.folder / 'first' / 'privacy.json').unlink()
    with self.assertRaisesRegex(
        errors.SettingsError, '`init_from` of a run with privacy.json'
    ):
      build(**settings)

  def test_a_mean_is_over_the_clients_that_there_are(self):
    for sampling, expected in (('poisson', 5), ('cyclic', 6)):
      plan = plan_lib.build(
          task(),
          config(
              clients_per_round=5,
              client_sampling=sampling,
              noise_multiplier=3.0,
              dp_clip=0.5,
          ),
      )
      # Twelve clients are in two groups.
      self.assertEqual(plan.expected_clients, expected)

  def test_refused_before_training(self):
    for settings, message in (
        ({'delta': 0.1}, '`delta` below 1/n = 0.083, found 0.1'),
        ({'noise_multiplier': 0.5}, 'at least 6 `clients_per_round` for adapt'),
        (
            {
                'noise_multiplier': None,
                'target_epsilon': 1e-4,
                'delta': 1e-9,
            },
            'up to 1000 for',
        ),
    ):
      with self.assertRaisesRegex(errors.SettingsError, message):
        plan_lib.build(
            task(),
            config(
                **{
                    'noise_multiplier': 0.1,
                    'client_sampling': 'cyclic',
                    **settings,
                }
            ),
        )

  def test_finetuning_has_the_budget_of_its_pretraining(self):
    plan = plan_lib.build(task(), config(algorithm='finetune', **_CYCLIC))
    self.assertEqual([m.rounds for m in plan.budget.own], [3])
    self.assertEqual(plan.pretraining.budget.noise_multiplier, 3.0)

  def test_comparison_has_the_epsilons_of_its_runs(self):
    combine = lambda **settings: combinations.combinations(
        config(**{**_CYCLIC, **settings}),
        algorithms=['fed_avg', 'fed_alt', 'finetune'],
        splits=['output'],
        seeds=[0, 1],
    )
    with self.assertRaisesRegex(errors.SettingsError, 'would share a budget'):
      combine()
    # Two of the three groups of clients.
    todo = combine(dp_key='seed', pretrain_rounds=3, total_rounds=3)
    failures = compare.run(
        task(),
        todo,
        str(self.folder),
        worker_fn=lambda: contextlib.nullcontext(sharding.Sharding()),
        progress=False,
    )
    self.assertEmpty(failures)
    found = json.loads((self.folder / 'comparison.json').read_text())
    expected = [
        accounting.guarantee(
            [accounting.Mechanism(3.0, 'cyclic', 12, 4, rounds)], 12**-1.1
        ).epsilon
        for rounds in (6, 6, 3)
    ]
    epsilons = [scheme['epsilon'] for scheme in found['schemes']]
    np.testing.assert_allclose(epsilons, expected, rtol=1e-3)
    notes = ' '.join(found['notes'])
    self.assertIn('none of them is private', notes)
    self.assertIn('squared error at different epsilons', notes)
    # FedAvg has as many rounds as the others, and their pretrained model.
    for seed in (0, 1):
      models = {
          (folder / 'pretrain' / 'model.safetensors').read_bytes()
          for folder in self.folder.glob(f'*-{seed}')
      }
      self.assertLen(models, 1)
    self.assertLen({s['baseline'] for s in found['schemes'][1:]}, 1)
    low, high = (formatting.epsilon(e) for e in expected[1:])
    text = (self.folder / 'comparison.md').read_text()
    self.assertRegex(text, rf'fed_alt, output \| 50.00% \| {low} \| 0.065 \|')
    self.assertRegex(text, rf'finetune, output \| 50.00% \| {high} \| 0.065')
    page = (self.folder / 'comparison.html').read_text()
    self.assertIn('<th>Epsilon</th><th>Delta</th>', page)
    self.assertIn(f'<td>{low}</td><td>0.065</td>', page)

  def test_searches_are_refused(self):
    private = config(target_epsilon=1.0, dp_key='seed')
    several = commands.Commands(
        {}, task_choice.TaskChoice('points'), flags.Output()
    )
    search = search_lib.Search(
        private,
        {'learning_rate': [0.1, 1.0]},
        combinations.schemes(['fed_alt'], ['output']),
        validation=0.2,
        tune_seeds=[0],
        seeds=[0],
    )
    for search_fn in (
        lambda: several.tune(search),
        lambda: several.regime(private, [None], config_groups.Regime()),
    ):
      with self.assertRaisesRegex(errors.SettingsError, 'found several'):
        search_fn()

  def test_a_factor_that_no_float_holds(self):
    once = accounting.Mechanism(0.02, 'cyclic', 10, 5, 1)
    budget = budget_lib.Budget(0.02, 1e-3, (), (once,))
    large = budget.guarantee.epsilon
    self.assertGreater(large, 710)
    promise = privacy_in_words.promise(budget, config().privacy)
    self.assertEndsWith(promise, f'a factor of e^{math.ceil(large)}')

  def test_words(self):
    def words(rounds=(), **settings):
      plan = plan_lib.build(task(), config(**{**_CYCLIC, **settings}))
      return dict(privacy_in_words.rows(plan, rounds))

    clip = 'aggregator/dp_query_metrics/clip'
    weak = words([{clip: 0.2}, {clip: 0.3}], noise_multiplier=0.3, dp_clip=None)
    self.assertIn('weak: it bounds odds', weak['Privacy'])
    self.assertIn('adaptive bound (0.1 -> 0.3)', weak['how'])
    usual = words()
    self.assertNotIn('weak', usual['Privacy'])
    self.assertNotIn('public', usual['Privacy'])
    self.assertIn('is in one of every 3 rounds', usual['if'])
    self.assertIn('by nothing', usual['against'])
    self.assertIn(
        'if it were run with a secret key; the randomness of this run is',
        words(dp_key='seed')['Privacy'],
    )
    self.assertIn('exact sums', words(dp_metrics='exact')['Privacy'])
    self.assertStartsWith(
        words(noise_multiplier=0.0)['Privacy'], 'none: without noise'
    )
    secure = {**_CYCLIC, 'client_sampling': 'poisson'}
    plan = plan_lib.build(task(), config(**secure, secure_aggregation=True))
    self.assertIn(
        'clients in a round, which the server',
        privacy_in_words.not_covered(plan),
    )
    self.assertEmpty(
        privacy_in_words.rows(plan_lib.build(task(), config()), [])
    )


if __name__ == '__main__':
  absltest.main()
