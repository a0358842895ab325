# SPDX-License-Identifier: Apache-2.0
"""Entities: current state, changes to it, transient ones, entity maps and what there is."""
