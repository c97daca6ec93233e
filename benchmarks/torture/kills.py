# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ends, stops and starves commands at random moments, and runs them again."""

from collections.abc import Mapping, Sequence
import contextlib
import csv
import importlib
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import time
from typing import Any, Optional

import numpy as np
import psutil

from benchmarks.torture import memory
from benchmarks.torture import outcome as outcome_lib
from benchmarks.torture import programs
from benchmarks.torture import toy
from tff_partial import files
from tff_partial.experiments import command
from tff_partial.experiments import run_folder
from tff_partial.training import personal_store

KINDS = ('kill', 'term', 'kill worker', 'stop', 'stop worker')
_SIGNALS = {
    'kill': signal.SIGKILL,
    'term': signal.SIGTERM,
    'stop': signal.SIGSTOP,
}
_PAUSE_SECONDS = 0.5
_MOST_IN_A_ROW = 4  # After this many interruptions, a command may finish.
_REST = 0.8  # Of the time that a command took, when it is tried again.
_COMMON = (
    '--total_rounds=4',
    '--clients_per_round=3',
    '--learning_rate=0.05',
    '--seconds_per_checkpoint=0',
    '--rounds_per_evaluation=2',
)
_START = ('--pretrain_rounds=2',)
_WORKER = ('--runtime=worker',)  # Others compute in the command itself.
SCENARIOS = {
    'fed_avg': ('--algorithm=fed_avg',),
    'fed_alt with all options': (
        '--algorithm=fed_alt',
        '--gate=0.3',
        '--finetune_epochs=1',
        '--unseen_clients=2',
        '--clients_per_shard=2',
        *_WORKER,
        *_START,
    ),
    'fed_sim': ('--algorithm=fed_sim', *_START),
    'fed_recon': ('--algorithm=fed_recon', *_WORKER, *_START),
    'ditto': ('--algorithm=ditto', *_START),
    'pfedme': ('--algorithm=pfedme', *_WORKER, *_START),
    'apfl': ('--algorithm=apfl', *_START),
    'finetune': ('--algorithm=finetune', '--finetune_epochs=2', *_START),
    'local': ('--algorithm=local', '--finetune_epochs=2'),
    'comparison': ('--algorithm=fed_avg,fed_alt', '--seeds=0', *_START),
    'export': (
        '--algorithm=fed_alt',
        '--export_client=person 1',
        '--export_dir={out}/export',
    ),
    'import': (),
}


class Campaign:
  """Runs commands with interruptions in a folder of its own."""

  def __init__(self, folder: pathlib.Path, seed: int):
    """Imports what commands need and writes their data.

    Args:
      folder: An empty folder.
      seed: Of the moments and the kinds of interruptions.
    """
    for name in programs.IMPORTS:
      importlib.import_module(name)
    self._folder = folder
    self._rng = np.random.default_rng([seed, 1])
    (folder / 'data').mkdir()
    toy.write_data(str(folder / 'data'))
    rng = np.random.default_rng(0)
    np.savez(
        folder / 'letters.npz',
        pixels=rng.integers(0, 256, [3000, 28, 28], np.uint8),
        label=np.arange(3000) % 4,
        person=np.arange(3000) // 10,
    )
    self._num_logs = 0
    self._started: list[programs.Command] = []
    self._references: dict[str, tuple[Any, float]] = {}

  def arguments(self, name: str, out: pathlib.Path) -> Sequence[str]:
    if name == 'import':
      return (
          'tasks.import_client_data',
          'npz',
          str(self._folder / 'letters.npz'),
          f'--output_dir={out}',
          '--overwrite',
      )
    return (
        'run_experiment',
        f'--task={pathlib.Path(toy.__file__).absolute()}:create',
        f'--data={self._folder / "data"}',
        f'--output_dir={out}',
        *_COMMON,
        *(a.format(out=out) for a in SCENARIOS[name]),
    )

  def reference(self, name: str) -> tuple[Any, float]:
    """What an uninterrupted command leaves, and its seconds."""
    if name not in self._references:
      out = self._folder / 'reference'
      started_at = time.monotonic()
      run = programs.Command(self.arguments(name, out), self._log('reference'))
      status = run.wait(300)
      seconds = time.monotonic() - started_at
      if status != 0:
        run.end()
        raise RuntimeError(f'{name}: {status}\n{run.log.read_text()}')
      self._references[name] = results(out), seconds
      shutil.rmtree(out)
    return self._references[name]

  def interrupt(
      self, name: str, kinds: Sequence[str], times: int
  ) -> outcome_lib.Outcome:
    """Interrupts a command several times, and runs it to its end each time.

    Args:
      name: One of `SCENARIOS`.
      kinds: What to do, some of `KINDS`. Not all commands have a worker.
      times: How many times to interrupt it. A command that ended before it was
        interrupted does not count.
    """
    outcome = outcome_lib.Outcome(name)
    started_at = time.monotonic()
    expected, seconds = self.reference(name)
    if name == 'import':
      kinds = [kind for kind in kinds if not kind.endswith('worker')] or [
          'kill'
      ]
    while outcome.num_trials < times:
      out = self._folder / 'run'
      history: list[str] = []
      for number in range(min(_MOST_IN_A_ROW, times - outcome.num_trials)):
        kind = str(self._rng.choice(kinds))
        # A command that goes on has less to do.
        latest = seconds if not number else seconds * _REST
        moment = float(self._rng.uniform(0, latest))
        history.append(f'{kind} after {moment:.2f} s')
        end, wrong = self._one(name, out, kind, moment)
        if wrong:
          outcome.violations.append(f'{name}: {", ".join(history)}: {wrong}')
        if end is None:
          seconds *= 1 if number else _REST
          break
        outcome.counts[end] += 1
      wrong = self.finish(name, out, expected)
      if wrong:
        outcome.violations.append(f'{name}: {", ".join(history)}: {wrong}')
      shutil.rmtree(out, ignore_errors=True)
      self.note_peaks(outcome)
    outcome.seconds = time.monotonic() - started_at
    return outcome

  def _one(
      self, name: str, out: pathlib.Path, kind: str, moment: float
  ) -> tuple[Optional[str], str]:
    """Starts a command and interrupts it.

    Args:
      name: One of `SCENARIOS`.
      out: The folder that the command writes to.
      kind: One of `KINDS`; the command itself if it has no worker yet.
      moment: Seconds after the start.

    Returns:
      What was done to whom, `None` if the command ended before; and what was
      wrong.
    """
    run = self.start(name, out)
    try:
      if run.wait(moment) is not None:
        return None, what_is_wrong(run, (0,))
      workers = [p for p in run.others() if p.name() == programs.WORKER]
      if kind.endswith('worker') and workers:
        send, whom = workers[0].send_signal, ' worker'
      else:
        send, whom = run.send, ''
      action = kind.split()[0]
      with contextlib.suppress(psutil.Error, OSError):
        send(_SIGNALS[action])
        if action == 'stop':
          time.sleep(_PAUSE_SECONDS)
          send(signal.SIGCONT)
      allowed: tuple[int, ...] = (0,)
      if whom and action == 'kill':
        # A command may give up if its worker is killed, but has to say so.
        allowed = (0, 1)
      elif action != 'stop':
        allowed = (-_SIGNALS[action], 128 + _SIGNALS[action], 0)
      if run.wait() is None:
        return action + whom, f'still runs after {programs.MAX_SECONDS} s'
      return action + whom, what_is_wrong(run, allowed)
    finally:
      run.end()

  def finish(self, name: str, out: pathlib.Path, expected: Any) -> str:
    """Runs a command to its end; what was wrong."""
    run = self.start(name, out)
    try:
      if run.wait() is None:
        return f'still runs after {programs.MAX_SECONDS} s'
      wrong = what_is_wrong(run, (0,))
      if wrong:
        return wrong
      found = results(out)
      different = [
          key
          for key in sorted({*found, *expected})
          if found.get(key) != expected.get(key)
      ]
      return f'other results: {", ".join(different)}' if different else ''
    finally:
      run.end()

  def start(
      self,
      name: str,
      out: pathlib.Path,
      variables: Optional[Mapping[str, str]] = None,
  ) -> programs.Command:
    """Starts a command that writes to a folder."""
    if name == 'export':  # It refuses a folder that has an export already.
      shutil.rmtree(out / 'export', ignore_errors=True)
    self._started.append(
        programs.Command(self.arguments(name, out), self._log('run'), variables)
    )
    return self._started[-1]

  def note_peaks(self, outcome: outcome_lib.Outcome) -> None:
    """Notes the memory of what was started since the last call."""
    for run in self._started:
      outcome.note_peaks(run.peaks, memory.MAX_BYTES)
    self._started.clear()

  def _log(self, name: str) -> pathlib.Path:
    self._num_logs += 1
    return self._folder / f'{name}-{self._num_logs}.log'


def what_is_wrong(run: programs.Command, allowed: Sequence[int]) -> str:
  """What is wrong with how a command ended; '' if nothing is."""
  text = run.log.read_text(errors='replace')
  if 'Traceback' in text or command.BUG in text:
    return f'a traceback: {text[-1500:]}'
  left = run.leftovers()
  if left:
    return f'left processes: {", ".join(left)}'
  if run.status not in allowed:
    return f'status {run.status}: {text[-500:]}'
  return ''


def results(folder: pathlib.Path) -> dict[str, Any]:
  """All that a command leaves, except for times and logs.

  A file that should not be there is a result too.
  """
  found: dict[str, Any] = {}
  for path in sorted(folder.rglob('*')):
    name = str(path.relative_to(folder))
    if path.is_dir() or path.suffix in ('.log', '.lock') or '.lock' in name:
      continue
    if 'tensorboard/' in name:
      continue
    if files.PARTIAL in name:
      found[name] = 'a temporary file'
    elif path.name == personal_store.FILE_NAME:
      found[name] = _rows(path, 'clients'), _rows(path, 'state')
    elif path.suffix == '.sqlite':
      found[name] = [
          _rows(path, table)
          for table in ('client_metadata', 'examples', 'clients')
      ]
    elif path.name == run_folder.METRICS:
      with open(path, newline='') as f:
        found[name] = [
            {k: v for k, v in row.items() if k not in ('seconds', 'crc')}
            for row in csv.DictReader(f)
        ]
    elif 'saved_model' in name or path.name == 'export.json':
      found[name] = True  # TensorFlow's bytes differ each time.
    elif path.suffix == '.json':
      found[name] = _without_times(json.loads(path.read_text()))
    elif path.suffix in ('.html', '.md', '.svg', '.tflite', '.keras'):
      found[name] = path.stat().st_size > 0  # They have times in them.
    elif path.name.endswith(('-wal', '-shm')):
      continue
    else:
      found[name] = path.read_bytes()
  return found


def _rows(path: pathlib.Path, table: str) -> list[tuple[Any, ...]]:
  with contextlib.closing(
      sqlite3.connect(f'{path.as_uri()}?mode=ro', uri=True)
  ) as connection:
    if not connection.execute(f'PRAGMA table_info({table})').fetchall():
      return []
    return sorted(connection.execute(f'SELECT * FROM {table}'))


def _without_times(value: Any) -> Any:
  if isinstance(value, dict):
    return {
        k: _without_times(v)
        for k, v in value.items()
        if 'second' not in k and k not in ('output_dir', 'commit')
    }
  if isinstance(value, list):
    return [_without_times(v) for v in value]
  return (
      value.replace(os.sep + 'reference', os.sep + 'run')
      if isinstance(value, str)
      else value
  )
