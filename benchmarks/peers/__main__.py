# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares the seconds of a round with those of other libraries.

  make peers
  python -m benchmarks.peers --workload=cnn --rounds=10
  git clone https://github.com/facebookresearch/FL_partial_personalization
  python -m benchmarks.peers --paper=FL_partial_personalization

All train the same network from the same weights, on the same bytes and
cohorts, with the same batches and rates, so that they have the same weights
after two rounds, which is checked. The workloads `lr` and `cnn` are trained by
FedAvg; with a clone of the paper's code, its own networks are trained by
FedAlt. Each library has a process of its own, as its documentation sets it up.
Their rounds are interleaved.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from absl import app
from absl import flags
import numpy as np

from benchmarks import apart
from benchmarks import interleaved
from benchmarks.peers import turns
from benchmarks.peers import work as work_lib
from benchmarks.peers import workloads
from tff_partial.runtime import names
from tff_partial.runtime import worker_process

_ROOT = pathlib.Path(__file__).absolute().parent.parent.parent
_OURS = 'tff_partial'
# Relative distance from our weights, as a share of what training moved them.
_ROUNDING = 0.01
_EXIT_SECONDS = 10.0

# By name in the table, how a program that runs the rounds is started.
TFF = {
    _OURS: [sys.executable, 'tff_partial_rounds', names.IN_PROCESS],
    'tff_partial, worker': [
        sys.executable,
        'tff_partial_rounds',
        names.WORKER,
    ],
    'stock TFF': [sys.executable, 'stock_rounds'],
}
PEERS = {
    'pfl-research': ['.venv-pfl/bin/python', 'pfl_rounds'],
    'FedJAX': ['.venv-fedjax/bin/python', 'fedjax_rounds'],
}


def of_paper(folder: str) -> dict[str, list[str]]:
  """The programs that can train by FedAlt: ours, and the paper's code."""
  ours = {name: TFF[name] for name in TFF if name.startswith(_OURS)}
  # It needs PyTorch alone.
  paper = ['.venv-pfl/bin/python', 'paper_rounds', os.path.abspath(folder)]
  return {**ours, "the paper's code": paper}


def run(
    work: work_lib.Work, programs: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
  """Measures the rounds and prints the table.

  Args:
    work: What is trained. Its first rounds are not counted.
    programs: By name, the Python, the module and its own arguments; ours is one
      of them.

  Returns:
    Seconds of each counted round, by name.

  Raises:
    ValueError: If a library has other weights than ours after two rounds.
  """
  with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, 'work.npz')
    work_lib.save(work, path)
    ends = {
        name: os.path.join(folder, f'{i}.npz')
        for i, name in enumerate(programs)
    }
    with contextlib.ExitStack() as stack:
      rounds = {
          name: stack.enter_context(_program(command, path, ends[name]))
          for name, command in programs.items()
      }
      num_rounds = len(work.cohorts) - interleaved.WARM_UP
      seconds = interleaved.measure(rounds, num_rounds)
    weights = {name: turns.read_weights(end) for name, end in ends.items()}
  title = (
      f'{work.name}, {num_rounds} rounds,'
      f' {worker_process.usable_cores()} cores'
  )
  columns = {_OURS: lambda kind: _OURS}
  print(interleaved.format_table(title, seconds, columns), flush=True)
  distance = 'not compared, because the networks differ'
  if work.same_network:
    distance = f'{check_weights(weights, work.weights):.1e}'
  print(
      '\nGreatest distance from our weights after two rounds, as a share of'
      f' what training moved them: {distance}.\n',
      flush=True,
  )
  return seconds


@contextlib.contextmanager
def _program(
    command: Sequence[str], path: str, end: str
) -> Iterator[apart.Round]:
  """A program that runs the rounds whose numbers it is given."""
  python, module, *options = command
  process = subprocess.Popen(
      [python, '-m', f'benchmarks.peers.{module}', path, end, *options],
      cwd=_ROOT,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      start_new_session=True,
  )

  def run_round(round_num):
    process.stdin.write(f'{round_num}\n')
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
      raise RuntimeError(f'{module} ended with status {process.wait()}.')
    return float(answer)

  try:
    yield run_round
  finally:
    process.stdin.close()  # It then ends.
    try:
      process.wait(_EXIT_SECONDS)
    except subprocess.TimeoutExpired:  # TFF's own runtime sometimes does not.
      os.killpg(process.pid, signal.SIGKILL)
      process.wait()
    process.stdout.close()


def check_weights(
    ends: Mapping[str, Sequence[np.ndarray]], initial: Sequence[np.ndarray]
) -> float:
  """Checks that all libraries have trained the same weights as ours.

  Args:
    ends: By name of the library, its weights at the end.
    initial: The weights that all started from.

  Returns:
    The greatest distance of one from ours, as a share of what training moved
    ours.

  Raises:
    ValueError: If the weights of one differ by more than rounding.
  """

  def distance(some, others):
    pairs = zip(some, others, strict=True)
    return sum(np.sum((a - b) ** 2) for a, b in pairs) ** 0.5

  moved = distance(ends[_OURS], initial)
  distances = {
      name: distance(weights, ends[_OURS]) / moved
      for name, weights in ends.items()
  }
  for name, found in distances.items():
    if not found < _ROUNDING:
      raise ValueError(
          f'Expected {name} to have our weights up to {_ROUNDING:.0%} of'
          f' what training moved them, found {found:.2%}.'
      )
  return max(distances.values())


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Expected flags only, found {argv[1]!r}.')
  if FLAGS.paper:
    create, programs = workloads.CREATE_OF_PAPER, of_paper(FLAGS.paper)
  else:
    create, programs = workloads.CREATE, {**TFF, **PEERS}
  unknown = set(FLAGS.workload) - set(create)
  if unknown:
    raise app.UsageError(
        f'Expected --workload of {", ".join(create)}'
        f' {"with" if FLAGS.paper else "without"} --paper, found'
        f' {", ".join(sorted(unknown))}.'
    )
  if FLAGS.paper and not os.path.isfile(
      os.path.join(FLAGS.paper, 'pfl', 'optim', 'fedalt.py')
  ):
    raise app.UsageError(
        "Expected --paper to be a clone of the paper's code, with the file"
        f' pfl/optim/fedalt.py, found none in {FLAGS.paper!r}.'
    )
  for name in FLAGS.workload or create:
    run(create[name](num_rounds=FLAGS.rounds + interleaved.WARM_UP), programs)


if __name__ == '__main__':
  flags.DEFINE_multi_enum(
      'workload',
      [],
      [*workloads.CREATE, *workloads.CREATE_OF_PAPER],
      'What is trained: logistic regression, whose steps are tiny, or the'
      ' EMNIST CNN; with --paper, one of its networks. Default: all of these.',
  )
  flags.DEFINE_string(
      'paper',
      '',
      "A clone of the paper's code, to compare with it instead of the other"
      ' libraries.',
  )
  flags.DEFINE_integer(
      'rounds', 20, 'Number of rounds of each library.', lower_bound=1
  )
  FLAGS = flags.FLAGS
  app.run(main)
