# SPDX-License-Identifier: Apache-2.0
"""The core: entities, representations, query languages, operations, matching and alert rules. No framework, driver or socket."""
