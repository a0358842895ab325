# SPDX-License-Identifier: Apache-2.0
"""The loops of ``minamo work``: alert rules, subscriptions, deliveries, housekeeping."""
