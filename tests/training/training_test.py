# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The training loop: resuming with the same bits, sampling, metrics."""

import asyncio
import functools
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import weakref

from absl.testing import absltest
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.helpers import toy
from tests.helpers import worker
from tff_partial import errors
from tff_partial.learning import algorithms
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import process as process_lib
from tff_partial.runtime import local
from tff_partial.runtime import sharding as sharding_lib
from tff_partial.training import history
from tff_partial.training import metrics_file
from tff_partial.training import personal_store
from tff_partial.training import sampler as sampler_lib
from tff_partial.training import training

FORM = examples_lib.Tensors(batch_size=2)


@functools.cache  # Building one takes seconds.
def build_process(algorithm=None, **settings):
  return process_lib.build_partial_process(
      toy.model_fn(),
      algorithm or algorithms.fed_alt(toy.sgd(0.1), toy.sgd(0.2)),
      client_examples=FORM,
      server_optimizer=tff.learning.optimizers.build_adam(0.1),
      **settings,
  )


def run(
    directory=None,
    *,
    total_rounds=4,
    algorithm=None,
    sampler=None,
    initial_state=None,
    past_metrics=None,
    stop_after=None,
    release_managers=(),
    sharding=None,
    metrics=True,
    progress=False,
):
  """Trains the toy model; (state, {client: b})."""
  process = build_process(algorithm, metrics=metrics)
  default = process.initialize_personal()
  with personal_store.PersonalStore(default, directory) as store:
    managers = list(release_managers)
    if stop_after:
      managers.append(_Stop(stop_after))
    state = training.train(
        process,
        sampler
        or sampler_lib.UniformSampler(
            toy.random_clients(9), clients_per_round=3
        ),
        store,
        training.Settings(total_rounds=total_rounds, seconds_per_checkpoint=0),
        initial_state=initial_state,
        past_metrics=past_metrics,
        release_managers=managers,
        sharding=sharding,
        progress=progress,
    )
    personal = {c: store.read([c])[0] for c in store}
  return state, {c: p.trainable[0].tobytes() for c, p in personal.items()}


def bits(state):
  return [np.asarray(leaf).tobytes() for leaf in tf.nest.flatten(state)]


class _Stop(tff.program.ReleaseManager):
  """Kills this process, without a chance to clean up, in a certain round."""

  def __init__(self, round_num):
    self._round_num = round_num

  async def release(self, value, key):
    if key == self._round_num:
      os.kill(os.getpid(), signal.SIGKILL)


class _Keep(tff.program.ReleaseManager):

  def __init__(self):
    self.rows = {}

  async def release(self, value, key):
    self.rows[key] = value


class _TwoAtATime:
  """Takes clients in order, two in a round: 9 clients need five rounds."""

  clients = toy.random_clients(9)

  def cohort(self, round_num):
    return self.clients.client_ids[2 * round_num : 2 * round_num + 2]

  def shuffle_seed(self, round_num, client_id):
    return clients_lib.seed_for(round_num, client_id)


class _NobodyAtFirst(_TwoAtATime):
  """The same after a round without clients."""

  def cohort(self, round_num):
    return super().cohort(round_num - 1) if round_num else []


class TrainTest(absltest.TestCase):

  def directory(self):
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    return directory.name

  def test_killed_and_resumed_run_ends_with_the_same_bits(self):
    expected_state, expected_personal = run()
    directory = self.directory()
    # Killed in round 3, after its personal variables were written to the store
    # but before they were committed.
    killed = subprocess.run(
        [
            sys.executable,
            '-m',
            'tests.training.training_test',
            '--stop',
            directory,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    self.assertEqual(killed.returncode, -signal.SIGKILL, killed.stdout)
    with personal_store.PersonalStore(
        toy.weights([0.0]), directory, read_only=True
    ) as store:
      self.assertEqual(store.version, 2)
    state, personal = run(directory)
    self.assertEqual(bits(state), bits(expected_state))
    self.assertEqual(personal, expected_personal)

  def test_finished_run_is_not_trained_again(self):
    directory = self.directory()
    state, personal = run(directory)
    keep = _Keep()
    again, personal_again = run(directory, release_managers=[keep])
    self.assertEqual(bits(state), bits(again))
    self.assertEqual(personal, personal_again)
    self.assertEmpty(keep.rows)

  def test_more_rounds_continue(self):
    directory = self.directory()
    run(directory, total_rounds=2)
    state, _ = run(directory, total_rounds=4)
    self.assertEqual(bits(state), bits(run()[0]))

  def test_only_clients_that_took_part_are_stored(self):
    _, personal = run(total_rounds=1)
    ids = toy.random_clients(9).client_ids
    self.assertCountEqual(
        personal, clients_lib.sample(ids, 3, seed=0, round_num=0)
    )
    self.assertLess(len(personal), len(ids))

  def test_stateless_clients_start_again(self):
    # With one client and a shared rate of nearly nothing, the personal variable
    # after two rounds is that after one, not twice trained.
    algorithm = algorithms.fed_recon(toy.sgd(1e-12), toy.sgd(0.2))
    one = run(total_rounds=1, algorithm=algorithm)[1]
    many = run(total_rounds=6, algorithm=algorithm)[1]
    for client_id, b in one.items():
      np.testing.assert_allclose(
          np.frombuffer(many[client_id], np.float32),
          np.frombuffer(b, np.float32),
          rtol=0.2,
      )

  def test_metrics_are_released_by_round(self):
    keep = _Keep()
    run(total_rounds=2, release_managers=[keep])
    self.assertCountEqual(keep.rows, [1, 2])
    self.assertContainsSubset(
        ['train/squared_error', 'counts/steps', 'counts/examples', 'seconds'],
        keep.rows[1],
    )
    self.assertGreater(keep.rows[1]['counts/examples'], 0)

  def test_runs_in_a_running_event_loop(self):
    async def notebook_cell():
      return run(total_rounds=1, release_managers=[_Keep()])

    state, _ = asyncio.run(notebook_cell())
    self.assertEqual(bits(state), bits(run(total_rounds=1)[0]))

  def test_any_sampler_will_do(self):
    _, personal = run(total_rounds=4, sampler=_TwoAtATime())
    ids = _TwoAtATime.clients.client_ids
    self.assertCountEqual(personal, ids[:8])
    _, personal = run(total_rounds=5, sampler=_TwoAtATime())
    self.assertCountEqual(personal, ids)

  def test_round_without_clients(self):
    trained, rows = {}, {}
    for clients_per_shard in (None, 1):
      keep = _Keep()
      sharding = sharding_lib.Sharding(clients_per_shard=clients_per_shard)
      trained[clients_per_shard] = run(
          total_rounds=3,
          sampler=_NobodyAtFirst(),
          sharding=sharding,
          release_managers=[keep],
          progress=True,
      )
      rows[clients_per_shard] = keep.rows
    for found in rows.values():
      self.assertEqual(
          [found[r]['counts/examples'] > 0 for r in (1, 2, 3)],
          [False, True, True],
      )
      self.assertNotIn('train/squared_error', found[1])
      self.assertIn('train/squared_error', found[2])
    for state, personal in trained.values():
      self.assertEqual(state.client_work.round_num, 3)
      self.assertCountEqual(personal, _NobodyAtFirst.clients.client_ids[:4])
    self.assertEqual(trained[None][1], trained[1][1])

  def test_round_without_metrics(self):
    keep = _Keep()
    state, personal = run(
        total_rounds=2, metrics=False, release_managers=[keep], progress=True
    )
    expected = run(total_rounds=2)
    self.assertEqual((bits(state), personal), (bits(expected[0]), expected[1]))
    for row in keep.rows.values():
      self.assertEmpty([k for k in row if k.startswith(('train', 'counts'))])
      self.assertIn('seconds', row)

  def test_starts_from_the_given_state(self):
    # Zero rounds return the state itself.
    process = build_process()
    state = process.initialize()
    other = tf.nest.map_structure(lambda leaf: np.asarray(leaf) + 1, state)
    for initial, expected in ((None, state), (other, other)):
      found, _ = run(total_rounds=0, initial_state=initial)
      self.assertEqual(bits(found), bits(expected))

  def test_initial_state_is_freed_after_the_first_round(self):
    # With the state of a server's optimizer, it is several times the model.
    process = build_process()
    states = [process.initialize()]
    leaf = weakref.ref(states[0].global_model_weights.trainable[0])
    seen = []
    with personal_store.PersonalStore(process.initialize_personal()) as store:
      training.train(
          process,
          sampler_lib.UniformSampler(toy.random_clients(2), 1),
          store,
          training.Settings(total_rounds=2, rounds_per_evaluation=1),
          initial_state=states.pop(),
          evaluation_fn=lambda *_: seen.append(leaf() is None) or {},
          progress=False,
      )
    self.assertEqual(seen, [True, True])

  def test_mistaken_settings(self):
    with self.assertRaisesRegex(
        errors.SettingsError, '`total_rounds` of at least 0, found -1'
    ):
      training.Settings(total_rounds=-1)
    with self.assertRaisesRegex(
        errors.SettingsError, '`clients_per_shard` of at least 1, found 0'
    ):
      sharding_lib.Sharding(clients_per_shard=0)

  def test_evaluates_every_few_rounds_and_after_the_last(self):
    settings = training.Settings(total_rounds=7, rounds_per_evaluation=3)
    self.assertEqual(
        [n for n in range(1, 8) if settings.evaluates_after(n)], [3, 6, 7]
    )
    never = training.Settings(total_rounds=7)
    self.assertFalse(any(never.evaluates_after(n) for n in range(1, 8)))


class HistoryTest(absltest.TestCase):

  def path(self, text):
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    path = pathlib.Path(directory.name, 'metrics.csv')
    path.write_text(text)
    return path

  def test_cut_line_is_not_a_row(self):
    path = self.path('round,loss\n1,0.5\n2,0.25\n3')
    self.assertEqual(
        history.read(path),
        [{'round': 1, 'loss': 0.5}, {'round': 2, 'loss': 0.25}],
    )

  def test_trim_drops_later_rounds(self):
    path = self.path('round,loss,acc\n1,0.5,\n2,0.25,0.9\n3,0.1')
    history.trim(path, 1)
    self.assertEqual(path.read_text().splitlines(), ['round,loss', '1,0.5'])

  def test_rounds_that_are_missing_are_named(self):
    path = self.path('round,loss\n1,0.5\n4,0.25\n5,0.1')
    self.assertEqual(history.missing(history.read(path), 5), [2, 3])
    with self.assertLogs(level='WARNING') as logs:
      history.trim(path, 4)
    self.assertRegex(logs.output[0], 'lacks 2 of 4 rounds, .* round 2. Curves')
    with self.assertNoLogs(level='WARNING'):
      history.trim(self.path('round,loss\n1,0.5\n2,0.25'), 1)

  def test_damaged_rows_are_no_rows(self):
    path = self.path('')
    path.unlink()
    manager = metrics_file.MetricsFile(path)
    for round_num in range(1, 4):
      value = {'train/loss': 1 / round_num, 'counts/steps': round_num}
      asyncio.run(manager.release(value, round_num))
    right = history.read(path)
    self.assertEqual(
        right[2], {'round': 3, 'train/loss': 1 / 3, 'counts/steps': 3}
    )
    good = path.read_text()
    path.write_text(good.replace('0.3333', '0.4333'))
    self.assertEqual(history.read(path), right[:2])
    path.write_bytes(good.replace('0.5', '0.\xe9').encode('latin-1'))
    self.assertEqual(history.read(path), [right[0], right[2]])
    # After what is damaged is removed, the rest is still intact.
    history.trim(path, 3)
    self.assertEqual(history.read(path), [right[0], right[2]])

  def test_quote_in_a_damaged_row(self):
    path = self.path(
        'round,loss\n1,0.5\n2,"\n3,0.1\n"' + 200_000 * 'x' + '\n5,0.2\n'
    )
    self.assertEqual([row['round'] for row in history.read(path)], [1, 3, 5])

  def test_unfinished_file_is_removed(self):
    path = self.path('round,loss\n1,0.5\n')
    partial = path.with_name('metrics.csv_temp1234')
    partial.write_text('round,lo')
    history.trim(path, 1)
    self.assertEqual(list(path.parent.iterdir()), [path])

  def test_file_that_cannot_be_written(self):
    class Refused(tff.program.ReleaseManager):

      async def release(self, value, key):
        raise PermissionError('Perhaps compressed.') from OSError('Read only')

    with self.assertRaisesRegex(
        errors.FileError, "round 1's metrics: Read only. Check that"
    ):
      run(total_rounds=1, release_managers=[Refused()])

  def test_release_manager_goes_on_after_a_cut(self):
    path = self.path('round,loss\n1,0.5\n2,0.2')
    path.write_text(path.read_text() + '5\n3,')
    history.trim(path, 2)
    manager = tff.program.CSVFileReleaseManager(path, key_fieldname='round')
    asyncio.run(manager.release({'loss': 0.125}, 3))
    self.assertEqual(
        [row['loss'] for row in history.read(path)], [0.5, 0.25, 0.125]
    )


setUpModule, tearDownModule = worker.start, worker.stop


def clients_with(lost):
  """Three clients; those whose numbers are in `lost` have infinite labels."""
  return toy.Clients(
      {
          f'client_{i}': toy.examples([1.0], [np.inf if i in lost else 1.0])
          for i in range(3)
      }
  )


class DivergenceTest(absltest.TestCase):

  def run_with(self, lost, total_rounds=4, directory=None, **kwargs):
    keep = _Keep()
    sampler = sampler_lib.UniformSampler(
        clients_with(lost), clients_per_round=3
    )
    state, _ = run(
        directory,
        sampler=sampler,
        total_rounds=total_rounds,
        release_managers=[keep],
        **kwargs,
    )
    return state, keep.rows

  def test_some_lost_updates_are_warned_of_once_and_counted(self):
    with self.assertLogs(level='WARNING') as logged:
      _, rows = self.run_with({1})
    [said] = [m for m in logged.output if 'finite' in m]
    self.assertIn('Round 1: the updates of 1 of 3 clients are not', said)
    self.assertEqual([r['counts/non_finite'] for r in rows.values()], [1] * 4)
    self.assertIn('train/squared_error', rows[1])

  def test_a_mean_of_nothing_is_not_zero(self):
    _, rows = self.run_with({0, 1, 2}, total_rounds=2)
    self.assertEqual([r['counts/non_finite'] for r in rows.values()], [3, 3])
    for row in rows.values():
      self.assertNotIn('train/squared_error', row)

  def test_nothing_but_lost_updates_ends_training_and_keeps_checkpoints(self):
    with tempfile.TemporaryDirectory() as folder:
      with self.assertRaisesRegex(
          errors.DivergedError, 'none in rounds 1 to 3.*`learning_rate`'
      ):
        self.run_with({0, 1, 2}, directory=folder)
      default = build_process().initialize_personal()
      with personal_store.PersonalStore(default, folder) as store:
        self.assertEqual(store.version, 2)

  def test_rounds_in_vain_count_across_a_stop(self):
    with tempfile.TemporaryDirectory() as folder:
      _, rows = self.run_with({0, 1, 2}, total_rounds=2, directory=folder)
      with self.assertRaisesRegex(
          errors.DivergedError, 'none in rounds 1 to 3'
      ):
        self.run_with({0, 1, 2}, directory=folder, past_metrics=rows)


if __name__ == '__main__':
  if sys.argv[1:2] == ['--stop']:
    with local.local_worker():
      run(sys.argv[2], stop_after=3)
  else:
    absltest.main()
