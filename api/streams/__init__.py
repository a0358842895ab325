# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that are pulled: their notifications as server-sent events and over WebSocket."""
