# SPDX-License-Identifier: Apache-2.0
"""Subscriptions and their notifications."""
