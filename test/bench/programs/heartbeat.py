# What is checkpointed: holds MIB of memory that does not compress, and a heartbeat of 1 kHz that sees when it stood still.
#
#   heartbeat.py MIB LOG [THREADS [PROCESSES]]
#
# THREADS and PROCESSES are how many there are in all (1): the others wait, the processes at pipes from the first one.
# Appends to LOG: "ready PID" once the memory is filled, then "gap END_MS LENGTH_MS" for each pause over 3 ms (END_MS since the epoch).
import os
import sys
import threading
import time

mib, log_path = int(sys.argv[1]), sys.argv[2]
threads, processes = (int(sys.argv[i]) if len(sys.argv) > i else 1 for i in (3, 4))
memory = bytearray()
for _ in range(mib):
    memory += os.urandom(1 << 20)
never = threading.Event()
pipes = []
for _ in range(processes - 1):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(writing)
        os.read(reading, 1)  # until its parent is gone
        os._exit(0)
    pipes.append(writing)
    os.close(reading)
for _ in range(threads - 1):
    threading.Thread(target=never.wait, daemon=True).start()


def say(text):
    # Opened for each line, so that no descriptor has to be restored and the log may be moved away.
    with open(log_path, 'a') as log:
        log.write(text + '\n')


say(f'ready {os.getpid()}')
last = time.monotonic()
while True:
    time.sleep(0.001)
    now = time.monotonic()
    if now - last > 0.003:
        say(f'gap {time.time() * 1e3:.1f} {(now - last) * 1e3:.1f}')
        now = time.monotonic()
    last = now
