# SPDX-License-Identifier: Apache-2.0
"""The core: entities, representations, queries, operations, matching, alert rules. No framework, driver or socket."""
