# SPDX-License-Identifier: Apache-2.0
"""The temporal side: evolutions of entities, aggregates, series, files, retention."""
