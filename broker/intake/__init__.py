# SPDX-License-Identifier: Apache-2.0
"""What comes in: readings, notifications of other brokers, documents that are fetched."""
