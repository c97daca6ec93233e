# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of finished runs whose results are given."""

from collections.abc import Sequence
import dataclasses
import pathlib

import numpy as np

from tff_partial.evaluation import client_table
from tff_partial.evaluation import metric as metric_lib
from tff_partial.evaluation import summary
from tff_partial.reporting import report

_COST = summary.Cost(1, 1, 1, 1, 1, 1, 1, 1.0, 1, 1)


def write(
    folder: pathlib.Path,
    loss: Sequence[float],
    accuracy: Sequence[float],
    *,
    baseline: Sequence[float] = (0, 0, 0),
    models: Sequence[str] = ('personalized',),
    baseline_model: str = 'initial',
    notes: Sequence[str] = (),
    bytes_once: int = 0,
    takers: int | None = None,
) -> None:
  """Writes a finished run of three clients with one test example each.

  Args:
    folder: The run's, which is made.
    loss: Under all models, by client.
    accuracy: Likewise; the first model's is this, and the others' is perfect.
    baseline: Accuracy before personalization.
    models: Names of the models, the run's candidate first.
    baseline_model: The baseline's name.
    notes: Those that a comparison repeats.
    bytes_once: Bytes of constants, sent to a client once.
    takers: With a gate, how many clients take the candidate.
  """
  folder.mkdir(parents=True)
  accuracies = {baseline_model: baseline, models[0]: accuracy}
  scores = {
      model: {
          name: client_table.Scores(np.array(terms, float), np.ones(3))
          for name, terms in (
              ('accuracy', accuracies.get(model, np.ones(3))),
              ('loss', loss),
          )
      }
      for model in (baseline_model, *models)
  }
  table = client_table.ClientTable(
      client_ids=('a', 'b', 'c'),
      train_examples=np.ones(3, int),
      test_examples=np.ones(3, int),
      participated=np.ones(3, bool),
      scores=scores,
  )
  write_table(
      folder,
      table,
      models[0],
      baseline_model=baseline_model,
      notes=notes,
      bytes_once=bytes_once,
      takers=takers,
  )


def write_table(
    folder: pathlib.Path,
    table: client_table.ClientTable,
    candidate: str,
    *,
    lists_clients: bool = True,
    baseline_model: str = 'initial',
    notes: Sequence[str] = (),
    bytes_once: int = 0,
    takers: int | None = None,
) -> None:
  """Writes the report of a finished run.

  Args:
    folder: The run's.
    table: Results under the baseline, the candidate and others.
    candidate: The model that the run is about.
    lists_clients: Whether the report lists single clients.
    baseline_model: As for `write`, like the following.
    notes: Those that a comparison repeats.
    bytes_once: Bytes of constants.
    takers: Clients that take the candidate.
  """
  report.write(
      folder,
      report.RunReport(
          title='t',
          settings={},
          variables=(),
          table=table,
          metric=metric_lib.Metric('accuracy', higher_is_better=True),
          baseline=baseline_model,
          candidate=candidate,
          history=(),
          cost=dataclasses.replace(_COST, bytes_once_per_client=bytes_once),
          leaves_client='Leaves a client: nothing.',
          lists_clients=lists_clients,
          notes_for_comparisons=notes,
          gate=None if takers is None else {'takers': takers},
      ),
  )
