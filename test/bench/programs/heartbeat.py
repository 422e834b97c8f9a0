# What is checkpointed: holds MIB of memory that does not compress, and a heartbeat of 1 kHz that sees when it stood still.
#
#   heartbeat.py MIB LOG
#
# Appends to LOG: "ready PID" once the memory is filled, then "gap END_MS LENGTH_MS" for each pause over 5 ms (END_MS since the epoch).
import os
import sys
import time

memory = bytearray(os.urandom(int(sys.argv[1]) << 20))


def say(text):
    # Opened for each line, so that no descriptor has to be restored and the log may be moved away.
    with open(sys.argv[2], 'a') as log:
        log.write(text + '\n')


say(f'ready {os.getpid()}')
last = time.monotonic()
while True:
    time.sleep(0.001)
    now = time.monotonic()
    if now - last > 0.005:
        say(f'gap {time.time() * 1e3:.1f} {(now - last) * 1e3:.1f}')
        now = time.monotonic()
    last = now
