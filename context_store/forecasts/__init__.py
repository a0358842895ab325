# SPDX-License-Identifier: Apache-2.0
"""Forecasts: runs of models, and what the hub itself extrapolates from."""
