# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run with differential privacy that is killed at any moment.

What a kill (SIGKILL) leaves is what the disk has at that moment. So the folder
of a run is copied at every moment at which it is about to change, or has, and
the run goes on in each of the copies.
"""

import pathlib
import shutil
import sys
import tempfile

from absl.testing import absltest

from tests.helpers import toy
from tests.helpers import toy_task
from tests.helpers import worker
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import run as run_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.privacy import secret_key
from tff_partial.training import history

setUpModule, tearDownModule = worker.start, worker.stop


class _Moments:
  """Copies a folder whenever something may have changed there.

  Attributes:
    copies: The folders of the copies, in order.
  """

  def __init__(self, folder, copies):
    self.copies = []
    self._folder, self._copies = folder, copies
    self._seen = None
    self._active = False
    # Python calls this before it renames or removes a file.
    sys.addaudithook(self._before)

  def __enter__(self):
    self._active = True

  def __exit__(self, *unused_exception):
    self._active = False

  def now(self):
    """Copies the folder if it has changed since the last time."""
    if not self._active or not self._folder.exists():
      return
    self._active = False
    seen = {
        str(p): (p.stat().st_size, p.stat().st_mtime_ns)
        for p in self._folder.rglob('*')
        if 'tensorboard' not in str(p)
    }
    if seen != self._seen:
      copy = self._copies / str(len(self.copies))
      shutil.copytree(self._folder, copy)
      self.copies.append(copy)
      self._seen = seen
    self._active = True

  def _before(self, event, unused_arguments):
    if event in ('os.rename', 'os.remove'):
      self.now()


class _Watched(toy.Clients):
  """Clients that say when they are read."""

  def __init__(self, data, before_read):
    super().__init__(data)
    self._before_read = before_read

  def read(self, client_id):
    self._before_read()
    return super().read(client_id)


def _rows(folder):
  rows = history.read(folder / 'metrics.csv')
  for row in rows:
    del row['seconds']
  return rows


def _bits(folder):
  """What a run and its pretraining have released."""
  return [
      (_rows(part), (part / 'model.safetensors').read_bytes())
      for part in (folder, folder / 'pretrain')
  ]


class PrivateKillsTest(absltest.TestCase):

  def test_no_bit_changes_and_no_round_is_released_twice(self):
    temporary = tempfile.TemporaryDirectory()
    self.addCleanup(temporary.cleanup)
    root = pathlib.Path(temporary.name)
    whole = root / 'whole'
    moments = _Moments(whole, root / 'copies')
    task = toy_task.create_task('', num_clients=12)
    clients = _Watched(
        {c: task.train.read(c) for c in task.train.client_ids}, moments.now
    )
    # The metrics of each round have the error of the model that it released.
    config = config_lib.create(
        algorithm='fed_alt',
        pretrain_rounds=1,
        total_rounds=2,
        clients_per_round=6,
        noise_multiplier=3.0,
        dp_clip=0.5,
        rounds_per_evaluation=1,
        seconds_per_checkpoint=0,
    )
    plan = plan_lib.build(task.with_clients(train=clients), config)
    with moments:
      run_lib.run(plan, str(whole), progress=False)
    expected = _bits(whole)
    self.assertEqual([len(rows) for rows, _ in expected], [2, 1])

    last_of_stage = {}
    for copy in moments.copies:
      # What was released before the kill is what is released in the end.
      released = [_rows(part) for part in (copy, copy / 'pretrain')]
      for rows, (final_rows, _) in zip(released, expected):
        self.assertEqual(rows, final_rows[: len(rows)])
      if (copy / secret_key.FILE).exists():
        stage = (*map(len, released), (copy / 'report.json').exists())
        last_of_stage[stage] = copy
      else:  # Nothing was released.
        self.assertEqual(released, [[], []])
    self.assertContainsSubset(
        [(0, 0, False), (0, 1, False), (1, 1, False), (2, 1, True)],
        last_of_stage,
    )
    [key] = {(c / secret_key.FILE).read_bytes() for c in last_of_stage.values()}
    plan = plan.with_key(secret_key.SecretKey(key))  # Built once.
    for copy in last_of_stage.values():
      run_lib.run(plan, str(copy), progress=False)
      self.assertEqual(_bits(copy), expected)
      self.assertFalse((copy / secret_key.FILE).exists())


if __name__ == '__main__':
  absltest.main()
