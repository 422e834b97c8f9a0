"""private.py PROGRAM [ARGUMENT…]: runs a test with an empty /run and /home of its own."""
import os
import sys

import node

if os.geteuid() != 0:
    print('skipped: needs root')
    sys.exit(77)
node.own_root()
node.mount('tmpfs', '/run', 'tmpfs', 0, 'mode=755')
node.mount('tmpfs', '/home', 'tmpfs', 0, 'mode=755')
os.execv(sys.argv[1], sys.argv[1:])
