"""Errors of this folder.

DashboardError
└── PushFailed      Grafana refused a board, or did not answer
"""


class DashboardError(Exception):
    """Base of this folder's errors."""


class PushFailed(DashboardError):
    """Grafana refused a board, or did not answer."""
