"""Locks on open files, which the system drops when their process ends."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # a byte that holds nothing, so that the file can be read meanwhile

    def try_lock(file: int) -> bool:
        """Lock an open file for its descriptor alone; False if another one has it."""
        import os

        os.lseek(file, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import errno
    import fcntl

    # where a shared folder knows no locks, the lease alone counts
    _NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

    def try_lock(file: int) -> bool:
        """Lock an open file for its descriptor alone; False if another one has it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        return True
