"""One self-contained HTML file: findings, figures, protocol, runs, provenance.

Nothing is computed here but the layout; no script, no network, no torch.
"""

from birthmark.report.document import write_report
from birthmark.report.pages import write_checkup, write_course, write_diff

__all__ = ["write_report"]
