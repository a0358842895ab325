# SPDX-License-Identifier: Apache-2.0
"""Queries of entities as SQL."""
