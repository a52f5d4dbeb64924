"""The tutorials: in which order they stand, and the pictures they have written."""

import shutil
from pathlib import Path

from sphinx_gallery.scrapers import figure_rst

ORDER = (
    *("plain_loop", "check_a_vit", "diff_checkpoints", "sweep_learning_rates"),
    *("the_letter", "new_measurement", "new_initialization"),
)
_SEEN: dict[Path, int] = {}


def gather(block, block_vars, gallery_conf):
    """Show each PNG below the example's folder that is new or was written anew."""
    folder = Path(block_vars["src_file"]).parent
    shown = []
    for path in sorted(folder.rglob("*.png"), key=lambda path: path.stat().st_mtime):
        written = path.stat().st_mtime_ns
        if "images" in path.parts or _SEEN.get(path) == written:
            continue
        _SEEN[path] = written
        to = Path(next(block_vars["image_path_iterator"]))
        shutil.copy(path, to)
        shown.append(str(to))
    return figure_rst(shown, gallery_conf["src_dir"])


class ByUse:
    """The order of the tutorials: from what most people want to what few do."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, name):
        """The place of a script; those that are not listed come last."""
        stem = Path(name).stem
        return ORDER.index(stem) if stem in ORDER else len(ORDER)
