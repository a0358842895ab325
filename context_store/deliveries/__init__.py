# SPDX-License-Identifier: Apache-2.0
"""The outbox: what leaves the hub, from the row to the answer of the receiver."""
