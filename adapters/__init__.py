# SPDX-License-Identifier: Apache-2.0
"""The outside world's formats and systems: device payloads in; webhooks, feeds and files out."""
