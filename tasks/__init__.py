# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's four tasks, by the names that users know them by."""

# BUILD: deps = ["//tasks/emnist:task", "//tasks/landmarks:task"]
# BUILD: deps = ["//tasks/speech:task", "//tasks/stackoverflow:task"]

# References as `tff_partial.experiments.task.create` takes them: naming a task
# here imports nothing.
TASKS = {
    name: f'{__name__}.{name}.task:create_task'
    for name in ('emnist', 'stackoverflow', 'speech', 'landmarks')
}
