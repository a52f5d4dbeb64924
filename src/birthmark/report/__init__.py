"""One self-contained HTML file: findings, figures, protocol, runs, provenance.

Nothing is computed here but the layout; no script, no network, no torch.
"""

from birthmark.report.checkup import write_checkup
from birthmark.report.diff import write_course, write_diff
from birthmark.report.document import write_report
from birthmark.report.pages import check_target

__all__ = ["write_report"]
