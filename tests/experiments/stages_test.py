# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is measured while a model is trained."""

import types

from absl.testing import absltest
import numpy as np

from tests.helpers import toy
from tff_partial.evaluation import client_table
from tff_partial.evaluation import evaluation
from tff_partial.experiments import stages


class CurveTest(absltest.TestCase):

  def test_leaves_out_a_metric_without_weight_yet(self):
    ones = np.ones([2], np.float32)
    scores = {'accuracy': (ones, ones), 'precision': (0 * ones, 0 * ones)}
    clients = toy.random_clients(1)
    model = evaluation.TestedModel(None, None, None)
    current = types.SimpleNamespace(
        plan=types.SimpleNamespace(
            candidate='personalized',
            curve_clients=clients.client_ids,
            curve_examples=clients,
            with_all_shared=lambda shared: shared,
        ),
        models=types.SimpleNamespace(of_everyone=lambda _: {'shared': model}),
        population=evaluation.Population(clients, clients, lambda _: True),
        evaluate=lambda *args, **kwargs: client_table.from_scores(
            {'shared': {c: scores for c in clients.client_ids}},
            client_ids=clients.client_ids,
            train_examples=[2],
            participated=[True],
        ),
    )
    found = stages._create_evaluation_fn(current)(
        1, types.SimpleNamespace(global_model_weights=None)
    )
    self.assertEqual(found, {'eval/shared/accuracy': 1.0})


if __name__ == '__main__':
  absltest.main()
