# SPDX-License-Identifier: Apache-2.0
"""Fetching the documents of cities and prefectures, and taking them apart into records of stations."""
